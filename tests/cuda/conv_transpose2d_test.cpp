#include "atrous/kernels/conv_transpose2d/conv_transpose2d.h"

#include <vector>

#include "tests/cuda/conv_support.h"

namespace atrous::tests {
namespace {

// y of the transposed convolution with these sizes of the convolution that it is the transpose of.
template <class T>
void check(Conv2dDims sizes, std::int64_t output_padding = 0) {
  sizes.padding.bottom -= output_padding;
  sizes.padding.right -= output_padding;
  const ConvProblem<T> p(sizes);
  INFO(dtype_name(dtype_of<T>()) << (p.d.allow_tf32 ? " as tf32" : "") << ", stride " << p.d.stride
                                 << ", rate " << p.d.rate << ", window " << p.d.window_h << 'x'
                                 << p.d.window_w);
  std::vector<double> truth = p.dx;
  for (std::size_t i = 0; i < truth.size(); ++i) truth[i] += number(p.input_bias[i % p.input_bias.size()]);
  const auto run = [&](bool with_bias) {
    const OnDevice<T> x(p.dy), weight(p.weight), bias(p.input_bias);
    return run_on_device<T>(kernels::conv_transpose2d_forward_workspace_size<T>(p.d, kCudaStream.device),
                            std::int64_t(p.x.size()), [&](auto scratch, auto y) {
                              kernels::cuda::conv_transpose2d_forward<T>(
                                  kCudaStream, p.d, x.span(), weight.span(),
                                  with_bias ? bias.span() : Span<const T>(), scratch, y);
                            });
  };
  CHECK(differing(run(false), p.dx) == 0);
  CHECK(differing(run(true), truth) == 0);
}

void check_all_types(Conv2dDims sizes, std::int64_t output_padding = 0) {
  check<bf16>(sizes, output_padding);
  check<float>(sizes, output_padding);
  check<double>(sizes, output_padding);
  sizes.allow_tf32 = true;
  check<float>(sizes, output_padding);
}

}  // namespace

TEST_CASE("conv_transpose2d on CUDA: every option gives the formula's sums", "[cuda][conv_transpose2d]") {
  SECTION("4x4, stride 2: four phases of four taps") {
    check_all_types({.batch = 2,
                     .in_h = 10,
                     .in_w = 14,
                     .in_channels = 24,
                     .out_channels = 16,
                     .window_h = 4,
                     .window_w = 4,
                     .stride = 2,
                     .padding = 1});
  }
  SECTION("3x3, stride 2, an output padding") {
    check_all_types({.batch = 1,
                     .in_h = 10,
                     .in_w = 8,
                     .in_channels = 21,
                     .out_channels = 32,
                     .window_h = 3,
                     .window_w = 3,
                     .stride = 2,
                     .padding = 1},
                    1);
  }
  SECTION("bilinear upsampling by 8 of 21 classes") {
    check_all_types({.batch = 1,
                     .in_h = 24,
                     .in_w = 16,
                     .in_channels = 21,
                     .out_channels = 21,
                     .window_h = 16,
                     .window_w = 16,
                     .stride = 8,
                     .padding = 4});
  }
  SECTION("a stride beyond the window: pixels that are the bias alone") {
    check_all_types({.batch = 1,
                     .in_h = 9,
                     .in_w = 7,
                     .in_channels = 8,
                     .out_channels = 8,
                     .window_h = 2,
                     .window_w = 1,
                     .stride = 3});
  }
  SECTION("a rate that shares a factor with the stride") {
    check_all_types({.batch = 1,
                     .in_h = 13,
                     .in_w = 12,
                     .in_channels = 8,
                     .out_channels = 72,
                     .window_h = 3,
                     .window_w = 3,
                     .stride = PerAxis(4, 2),
                     .padding = 2,
                     .rate = PerAxis(2, 3)});
  }
  SECTION("more phases than the tiled kernel takes: the plain body") {
    check_all_types({.batch = 1,
                     .in_h = 3,
                     .in_w = 100,
                     .in_channels = 5,
                     .out_channels = 3,
                     .window_h = 2,
                     .window_w = 50,
                     .stride = PerAxis(1, 50)});
  }
  SECTION("more phases than a launch holds") {
    check<float>({.batch = 1,
                  .in_h = 34,
                  .in_w = 36,
                  .in_channels = 4,
                  .out_channels = 4,
                  .window_h = 17,
                  .window_w = 18,
                  .stride = 17});
  }
}

TEST_CASE("conv_transpose2d on CUDA: an empty batch launches nothing", "[cuda][conv_transpose2d]") {
  check<float>({.batch = 0,
                .in_h = 10,
                .in_w = 14,
                .in_channels = 8,
                .out_channels = 8,
                .window_h = 4,
                .window_w = 4,
                .stride = 2,
                .padding = 1});
}

}  // namespace atrous::tests
