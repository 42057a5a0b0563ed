#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d.h"

#include <limits>

#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::Activation;
using kernels::DepthwiseConv2dDims;

struct Row {
  const char* name;
  std::int64_t batch, in_h, in_w, channels, multiplier, window_h, window_w;
  PerAxis stride, rate;
  Padding padding;
  Activation activation = Activation::none;

  DepthwiseConv2dDims dims() const {
    DepthwiseConv2dDims d;
    d.batch = batch, d.in_h = in_h, d.in_w = in_w, d.channels = channels, d.multiplier = multiplier;
    d.window_h = window_h, d.window_w = window_w, d.stride = stride, d.rate = rate, d.padding = padding;
    d.out_h = window_positions(in_h, padding.top, padding.bottom, window_h, rate.h, stride.h);
    d.out_w = window_positions(in_w, padding.left, padding.right, window_w, rate.w, stride.w);
    return d;
  }
};

// 3x3 of stride 1 goes by row windows, in vectors of 16 bytes for 8, 16, 72 and 136 channels.
const Row kRows[] = {
    {"3x3", 2, 9, 7, 16, 1, 3, 3, 1, 1, 1},
    {"3x3, hard swish", 1, 6, 5, 16, 1, 3, 3, 1, 1, 1, Activation::hard_swish},
    {"3x3, 19 channels, hard swish", 1, 6, 5, 19, 1, 3, 3, 1, 1, 1, Activation::hard_swish},
    {"stride 2, hard swish", 1, 6, 5, 16, 1, 3, 3, 2, 1, 1, Activation::hard_swish},
    {"3x3, 21 channels, relu6", 2, 6, 5, 21, 1, 3, 3, 1, 1, 1, Activation::relu6},
    {"3x3, 19 channels", 1, 6, 5, 19, 1, 3, 3, 1, 1, 1},
    {"rate 2, relu", 1, 11, 9, 8, 1, 3, 3, 1, 2, 2, Activation::relu},
    {"rate 12, most taps outside", 2, 13, 14, 8, 1, 3, 3, 1, 12, 12},
    {"rate larger than the map", 1, 5, 4, 24, 1, 3, 3, 1, 12, 12},
    {"rate 2x3, no padding", 2, 9, 11, 8, 1, 3, 3, 1, {2, 3}, 0},
    {"four paddings", 2, 4, 5, 8, 1, 3, 3, 1, 1, {1, 0, 2, 3}},
    {"padding wider than the window", 1, 3, 4, 16, 1, 3, 3, 1, 1, 4},
    {"chunks of 8 vectors", 1, 5, 6, 128, 1, 3, 3, 1, 1, 1},
    {"a vector in a second chunk", 1, 4, 37, 72, 1, 3, 3, 1, 1, 1},
    {"more rows than a strip", 1, 37, 3, 8, 1, 3, 3, 1, 1, 1},
    {"stride 2", 2, 9, 8, 16, 1, 3, 3, 2, 1, 1},
    {"stride 2, rate 2, 19 channels", 2, 9, 10, 19, 1, 3, 3, 2, 2, 2},
    {"stride 3x2, rate 2x3", 2, 9, 11, 8, 1, 3, 2, {3, 2}, {2, 3}, 2},
    {"stride 1x2", 1, 8, 9, 8, 1, 3, 3, {1, 2}, 1, 1, Activation::relu},
    {"5x4 window larger than the map", 2, 3, 2, 8, 1, 5, 4, 1, 1, 2},
    {"one tap", 2, 4, 5, 6, 1, 1, 1, 1, 1, 0},
    {"multiplier 2", 2, 5, 6, 3, 2, 3, 3, 1, 1, 1},
    {"multiplier 3, stride 2", 1, 6, 7, 8, 3, 3, 3, 2, 1, 1},
};

template <class T>
struct Results {
  std::vector<T> y, dx, dweight;
};

Results<double> truth(const DepthwiseConv2dDims& d, Activation activation, const std::vector<double>& x,
                      const std::vector<double>& weight, const std::vector<double>& bias,
                      const std::vector<double>& dy) {
  using namespace kernels;
  std::vector<double> a(std::size_t(depthwise_conv2d_forward_workspace_size<double>(d))),
      b(std::size_t(depthwise_conv2d_backward_input_workspace_size<double>(d))),
      c(std::size_t(depthwise_conv2d_backward_weight_workspace_size<double>(d)));
  Results<double> r{std::vector<double>(dy.size()), std::vector<double>(x.size()),
                    std::vector<double>(weight.size())};
  cpu::depthwise_conv2d_forward<double>({}, d, x, weight, {bias, activation}, a, r.y);
  cpu::depthwise_conv2d_backward_input<double>({}, d, dy, weight, b, r.dx);
  cpu::depthwise_conv2d_backward_weight<double>({}, d, x, dy, c, r.dweight);
  return r;
}

template <class T>
Results<T> on_cuda(const DepthwiseConv2dDims& d, Activation activation, const std::vector<T>& x,
                   const std::vector<T>& weight, const std::vector<T>& bias, const std::vector<T>& dy) {
  using namespace kernels;
  const Device device = kCudaStream.device;
  const OnDevice<T> cx(x), cw(weight), cb(bias), cdy(dy);
  OnDevice<T> y(std::int64_t(dy.size())), dx(cx.size()), dweight(cw.size()),
      a(depthwise_conv2d_forward_workspace_size<T>(d, device)),
      b(depthwise_conv2d_backward_input_workspace_size<T>(d, device)),
      c(depthwise_conv2d_backward_weight_workspace_size<T>(d, device));
  cuda::depthwise_conv2d_forward<T>(kCudaStream, d, cx.span(), cw.span(), {cb.span(), activation}, a.span(),
                                    y.span());
  cuda::depthwise_conv2d_backward_input<T>(kCudaStream, d, cdy.span(), cw.span(), b.span(), dx.span());
  cuda::depthwise_conv2d_backward_weight<T>(kCudaStream, d, cx.span(), cdy.span(), c.span(), dweight.span());
  for (const OnDevice<T>* result : {&y, &dx, &dweight, &a, &b, &c}) CHECK(result->intact());
  return {y.values(), dx.values(), dweight.values()};
}

}  // namespace

TEMPLATE_TEST_CASE("depthwise_conv2d: CUDA agrees with double on the CPU", "[cuda][depthwise_conv2d]", float,
                   bf16, double) {
  using T = TestType;
  for (const Row& row : kRows) {
    INFO(row.name);
    const DepthwiseConv2dDims d = row.dims();
    const auto x = random_values<T>(d.in_pixels() * d.channels, 1),
               weight = random_values<T>(d.taps() * d.out_channels(), 2),
               bias = random_values<T>(d.out_channels(), 3),
               dy = random_values<T>(d.out_pixels() * d.out_channels(), 4);
    const Results<double> expected =
        truth(d, row.activation, in_double(x), in_double(weight), in_double(bias), in_double(dy));
    Results<T> first;
    on_every_schedule([&] {
      const Results<T> got = on_cuda<T>(d, row.activation, x, weight, bias, dy);
      CHECK(gap(got.y, expected.y) <= tolerance<T>());
      CHECK(gap(got.dx, expected.dx) <= tolerance<T>());
      CHECK(gap(got.dweight, expected.dweight) <= tolerance<T>());
      if (first.y.empty()) first = got;
      CHECK((same_bits(got.y, first.y) && same_bits(got.dx, first.dx) &&
             same_bits(got.dweight, first.dweight)));
    });
  }
}

TEMPLATE_TEST_CASE("depthwise_conv2d: on CUDA a NaN spoils the windows that hold it and no other",
                   "[cuda][depthwise_conv2d]", float, bf16) {
  using T = TestType;
  const DepthwiseConv2dDims d = Row{"", 1, 6, 6, 8, 1, 3, 3, 1, 2, 2}.dims();
  auto x = random_values<T>(d.in_pixels() * d.channels, 1);
  x[std::size_t((2 * 6 + 3) * 8 + 5)] = T(std::numeric_limits<float>::quiet_NaN());
  const auto weight = random_values<T>(9 * 8, 2);
  const std::vector<T> none, dy(x.size(), T(0.0f));
  const auto y = on_cuda<T>(d, Activation::relu, x, weight, none, dy).y;
  for (int p = 0; p < 36; ++p)
    for (int c = 0; c < 8; ++c) {
      const int dh = p / 6 - 2, dw = p % 6 - 3;
      const bool reads = c == 5 && (dh == 0 || dh == 2 || dh == -2) && (dw == 0 || dw == 2 || dw == -2);
      CHECK(std::isnan(float(y[std::size_t(p * 8 + c)])) == reads);
    }
}

TEMPLATE_TEST_CASE("depthwise_conv2d: on CUDA an empty batch leaves a gradient of 0",
                   "[cuda][depthwise_conv2d]", float, bf16, double) {
  using T = TestType;
  const DepthwiseConv2dDims d = Row{"", 0, 6, 6, 8, 1, 3, 3, 1, 1, 1}.dims();
  const auto weight = random_values<T>(9 * 8, 2);
  const Results<T> got = on_cuda<T>(d, Activation::none, {}, weight, {}, {});
  CHECK(gap(got.dweight, std::vector<double>(weight.size(), 0)) == 0);
}

#ifdef ATROUS_CUDA_EMULATED
TEMPLATE_TEST_CASE("depthwise_conv2d: CUDA asks for whole sectors", "[cuda][depthwise_conv2d]", float, bf16) {
  using T = TestType;
  if (!emu::checked_build()) return;
  for (const std::int64_t channels : {24, 64})
    for (const std::int64_t rate : {1, 3}) {
      INFO(channels << " channels, rate " << rate);
      const DepthwiseConv2dDims d = Row{"", 1, 12, 16, channels, 1, 3, 3, 1, rate, rate}.dims();
      const OnDevice<T> x(random_values<T>(d.in_pixels() * channels, 1)),
          weight(random_values<T>(9 * channels, 2)), bias(random_values<T>(channels, 3));
      OnDevice<T> y(x.size());
      const auto ratio = [&](const auto& run) {
        const emu::AccessStats s = emu::stats_of(run);
        CHECK(s.device_requests > 0);
        return s.sector_ratio();
      };
      CHECK(ratio([&] {
              kernels::cuda::depthwise_conv2d_forward<T>(kCudaStream, d, x.span(), weight.span(),
                                                         {bias.span()}, {}, y.span());
            }) <= 1.05);
      CHECK(ratio([&] {
              kernels::cuda::depthwise_conv2d_backward_input<T>(kCudaStream, d, x.span(), weight.span(), {},
                                                                y.span());
            }) <= 1.05);
    }
}
#endif

}  // namespace atrous::tests
