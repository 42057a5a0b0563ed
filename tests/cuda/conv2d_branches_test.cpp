#include "atrous/kernels/conv2d/conv2d_branches.h"

#include <memory>
#include <utility>
#include <vector>

#include "atrous/kernels/conv2d/implicit_gemm.h"
#include "tests/cuda/conv_support.h"

namespace atrous::tests {
namespace {

using kernels::BranchWeights;
using kernels::Conv2dBranches;
using kernels::Gather;

const Device kCuda = kCudaStream.device;

// Branches of one x side by side, with `before` and `behind` channels of y that belong to nobody.
template <class T>
struct Problem {
  Conv2dBranches dims;
  std::vector<ConvProblem<T>> branches;
  std::vector<T> dy, bias;
  std::vector<double> dx;

  Problem(const std::vector<Conv2dDims>& sizes, std::int64_t before, std::int64_t behind) {
    for (const Conv2dDims& d : sizes) {
      branches.emplace_back(d);
      dims.branches.push_back(branches.back().d);
    }
    dims.y_begin = before;
    dims.y_channels = before + dims.out_channels() + behind;
    dy = eighths<T>(dims.out_pixels() * dims.y_channels, 9);
    dx.resize(branches[0].x.size());
    // Each branch's own dy stands in its channels; its x and bias are those of branch 0 and of its channels.
    for (std::size_t b = 0; b < branches.size(); ++b) {
      const std::int64_t count = dims.branches[b].out_channels;
      for (std::int64_t i = 0; i < dims.out_pixels() * count; ++i)
        dy[std::size_t(i / count * dims.y_channels + before + dims.begin_of(b) + i % count)] =
            branches[b].dy[std::size_t(i)];
      for (std::size_t i = 0; i < dx.size(); ++i) dx[i] += branches[b].dx[i];
      bias.insert(bias.end(), branches[b].bias.begin(), branches[b].bias.end());
    }
  }
};

template <class T>
void check(const std::vector<Conv2dDims>& sizes, std::int64_t before, std::int64_t behind,
           Activation activation = Activation::relu) {
  const Problem<T> p(sizes, before, behind);
  const Conv2dBranches& dims = p.dims;
  INFO(dtype_name(dtype_of<T>()) << (sizes[0].allow_tf32 ? " as tf32, " : ", ") << sizes.size()
                                 << " branches, " << before << " channels before, " << behind << " behind");
  const OnDevice<T> x(p.branches[0].x), dy(p.dy), bias(p.bias);
  std::vector<std::unique_ptr<OnDevice<T>>> held, results;
  BranchWeights<T> weights;
  std::vector<Span<T>> dweights;
  for (const auto& b : p.branches) {
    held.push_back(std::make_unique<OnDevice<T>>(b.weight));
    results.push_back(std::make_unique<OnDevice<T>>(std::int64_t(b.weight.size())));
    weights.push_back(std::as_const(*held.back()).span());
    dweights.push_back(results.back()->span());
  }

  const std::vector<T> filled(p.dy.size(), T(3.0f));
  OnDevice<T> y(filled), forward_scratch(kernels::conv2d_branches_forward_workspace_size<T>(dims, kCuda));
  OnDevice<double> sums(kernels::conv2d_branches_sums_size<T>(dims, kCuda)), mean(dims.out_channels()),
      var(dims.out_channels());
  kernels::cuda::conv2d_branches_forward<T>(kCudaStream, dims, x.span(), weights, {bias.span(), activation},
                                            forward_scratch.span(), sums.span(), y.span(), mean.span(),
                                            var.span());
  CHECK((y.intact() && forward_scratch.intact() && sums.intact() && mean.intact() && var.intact()));
  const std::vector<T> got = y.values();
  const std::vector<double> got_mean = mean.values(), got_var = var.values();
  std::vector<double> truth(got.size(), 3.0);
  for (std::size_t b = 0; b < p.branches.size(); ++b) {
    const std::vector<double> own = p.branches[b].forward_truth(true, activation);
    const std::int64_t count = dims.branches[b].out_channels, first = dims.begin_of(b);
    for (std::int64_t k = 0; k < count; ++k) {
      double sum = 0, squares = 0;
      const auto pixels = double(dims.out_pixels());
      const auto stored = [&](std::int64_t i) { return number(T(float(own[std::size_t(i * count + k)]))); };
      for (std::int64_t i = 0; i < dims.out_pixels(); ++i) {
        truth[std::size_t(i * dims.y_channels + before + first + k)] = own[std::size_t(i * count + k)];
        sum += stored(i);
      }
      for (std::int64_t i = 0; i < dims.out_pixels(); ++i)
        squares += (stored(i) - sum / pixels) * (stored(i) - sum / pixels);
      CHECK(got_mean[std::size_t(first + k)] == Approx(sum / pixels).epsilon(1e-5).margin(1e-6));
      CHECK(got_var[std::size_t(first + k)] == Approx(squares / pixels).epsilon(1e-5));
    }
  }
  CHECK(differing(got, truth) == 0);  // and nobody's channels as they were

  CHECK(differing(
            run_on_device<T>(kernels::conv2d_branches_backward_input_workspace_size<T>(dims, kCuda), x.size(),
                             [&](auto scratch, auto dx) {
                               kernels::cuda::conv2d_branches_backward_input<T>(kCudaStream, dims, dy.span(),
                                                                                weights, scratch, dx);
                             }),
            p.dx) == 0);

  OnDevice<T> weight_scratch(kernels::conv2d_branches_backward_weight_workspace_size<T>(dims, kCuda));
  kernels::cuda::conv2d_branches_backward_weight<T>(kCudaStream, dims, x.span(), dy.span(),
                                                    weight_scratch.span(), dweights);
  CHECK(weight_scratch.intact());
  for (std::size_t b = 0; b < p.branches.size(); ++b) {
    CHECK(differing(results[b]->values(), p.branches[b].dweight) == 0);
    CHECK(results[b]->intact());
  }
}

void check_all_types(std::vector<Conv2dDims> sizes, std::int64_t before, std::int64_t behind) {
  check<bf16>(sizes, before, behind);
  check<float>(sizes, before, behind);
  check<double>(sizes, before, behind);
  for (Conv2dDims& d : sizes) d.allow_tf32 = true;
  check<float>(sizes, before, behind, Activation::none);
}

Conv2dDims branch(std::int64_t size, std::int64_t in_channels, std::int64_t out_channels, std::int64_t taps,
                  std::int64_t rate) {
  return {.batch = 2,
          .in_h = size,
          .in_w = size,
          .in_channels = in_channels,
          .out_channels = out_channels,
          .window_h = taps,
          .window_w = taps,
          .padding = taps / 2 * rate,
          .rate = rate};
}

}  // namespace

TEST_CASE("conv2d_branches on CUDA: all give the formula's sums", "[cuda][conv2d]") {
  SECTION("an ASPP") {
    check_all_types(
        {branch(9, 72, 72, 1, 1), branch(9, 72, 72, 3, 2), branch(9, 72, 72, 3, 4), branch(9, 72, 72, 3, 7)},
        0, 0);
  }
  SECTION("in the middle of a wider y") {
    check_all_types({branch(7, 16, 24, 3, 2), branch(7, 16, 8, 1, 1), branch(7, 16, 16, 5, 1)}, 8, 16);
  }
  SECTION("where rows of y lie at no multiple of 16 bytes") {
    check_all_types({branch(5, 3, 5, 3, 1), branch(5, 3, 7, 3, 3)}, 1, 2);
  }
  SECTION("tiles of other widths: one after the other") {
    check_all_types({branch(6, 8, 80, 1, 1), branch(6, 8, 8, 3, 1)}, 0, 8);
  }
  SECTION("more than one launch sums up") {
    check<float>(std::vector<Conv2dDims>(5, branch(4, 8, 8, 3, 1)), 0, 0);  // bf16 rounds between branches
  }
}

TEST_CASE("conv2d_branches on CUDA: the same bits whatever the schedule, one launch each", "[cuda][conv2d]") {
  const std::vector<Conv2dDims> sizes{branch(15, 72, 72, 1, 1), branch(15, 72, 72, 3, 4),
                                      branch(15, 72, 72, 3, 7)};
  std::vector<Conv2dDims> dims;
  for (const Conv2dDims& d : sizes) dims.push_back(kernels::with_output_size(d));
  for (const Gather direction : {Gather::forward, Gather::backward_input}) {
    REQUIRE(kernels::branches_take_implicit_gemm(direction, dims, 2));
    const auto schedules = kernels::branch_schedules(direction, dims, 2);
    REQUIRE(schedules.size() == 1);
    CHECK(schedules[0].terms == (direction == Gather::forward ? 1 : 3));
    CHECK(schedules[0].slices > 1);  // the sum over branches is cut too
  }
  on_every_schedule([&] { check<bf16>(sizes, 0, 0); });
}

TEST_CASE("conv2d_branches on CUDA: an empty batch and unwanted gradients", "[cuda][conv2d]") {
  std::vector<Conv2dDims> sizes{branch(5, 8, 8, 3, 1), branch(5, 8, 8, 1, 1)};
  const Problem<float> p(sizes, 0, 0);
  const OnDevice<float> x(p.branches[0].x), dy(p.dy);
  OnDevice<float> scratch(kernels::conv2d_branches_backward_weight_workspace_size<float>(p.dims, kCuda)),
      second(std::int64_t(p.branches[1].weight.size()));
  kernels::cuda::conv2d_branches_backward_weight<float>(kCudaStream, p.dims, x.span(), dy.span(),
                                                        scratch.span(), {Span<float>(), second.span()});
  CHECK(differing(second.values(), p.branches[1].dweight) == 0);

  for (Conv2dDims& d : sizes) d.batch = 0;
  const Problem<float> empty(sizes, 0, 0);
  OnDevice<float> dweight(std::int64_t(p.branches[0].weight.size()));
  kernels::cuda::conv2d_branches_backward_weight<float>(kCudaStream, empty.dims, {}, {}, scratch.span(),
                                                        {dweight.span(), second.span()});
  CHECK(differing(dweight.values(), std::vector<double>(p.branches[0].weight.size())) == 0);
}

}  // namespace atrous::tests
