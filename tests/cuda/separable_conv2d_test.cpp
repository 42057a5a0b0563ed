#include "atrous/kernels/separable_conv2d/separable_conv2d.h"

#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::Activation;
using kernels::SeparableConv2dDims;

SeparableConv2dDims sizes(std::int64_t batch, std::int64_t side, std::int64_t channels, std::int64_t outputs,
                          std::int64_t stride, std::int64_t rate, std::int64_t multiplier = 1) {
  SeparableConv2dDims dims;
  auto& d = dims.depthwise;
  d.batch = batch, d.in_h = side, d.in_w = side + 2, d.channels = channels, d.multiplier = multiplier;
  d.window_h = d.window_w = 3, d.stride = stride, d.rate = rate, d.padding = rate;
  d.out_h = window_positions(d.in_h, rate, rate, 3, rate, stride);
  d.out_w = window_positions(d.in_w, rate, rate, 3, rate, stride);
  dims.out_channels = outputs;
  return dims;
}

}  // namespace

TEMPLATE_TEST_CASE("separable_conv2d: CUDA agrees with double on the CPU", "[cuda][separable_conv2d]", float,
                   bf16, double) {
  using T = TestType;
  // Channels below, at and above a step of 32; outputs below and above a block's 128; the rest the plain way.
  for (const SeparableConv2dDims& dims :
       {sizes(2, 9, 8, 16, 1, 1), sizes(1, 8, 40, 136, 1, 2), sizes(1, 9, 64, 8, 2, 1),
        sizes(1, 5, 3, 21, 1, 1), sizes(1, 5, 4, 8, 1, 1, 2)}) {
    const auto& d = dims.depthwise;
    INFO(d.channels << " to " << dims.out_channels << " channels");
    const auto x = random_values<T>(d.in_pixels() * d.channels, 1),
               depthwise = random_values<T>(9 * d.out_channels(), 2),
               between = random_values<T>(d.out_channels(), 3),
               pointwise = random_values<T>(d.out_channels() * dims.out_channels, 4),
               bias = random_values<T>(dims.out_channels, 5);
    std::vector<double> y(std::size_t(d.out_pixels() * dims.out_channels)),
        scratch(std::size_t(kernels::separable_conv2d_forward_workspace_size<double>(dims)));
    kernels::cpu::separable_conv2d_forward<double>(
        {}, dims, in_double(x), in_double(depthwise), {in_double(between), Activation::relu6},
        in_double(pointwise), {in_double(bias), Activation::relu}, scratch, y);
    std::vector<T> first;
    on_every_schedule([&] {
      const OnDevice<T> cx(x), cd(depthwise), cb(between), cp(pointwise), ce(bias);
      OnDevice<T> cy(std::int64_t(y.size()));
      kernels::cuda::separable_conv2d_forward<T>(kCudaStream, dims, cx.span(), cd.span(),
                                                 {cb.span(), Activation::relu6}, cp.span(),
                                                 {ce.span(), Activation::relu}, {}, cy.span());
      CHECK(cy.intact());
      const std::vector<T> got = cy.values();
      CHECK(gap(got, y) <= 2 * tolerance<T>());
      if (first.empty()) first = got;
      CHECK(same_bits(got, first));
    });
  }
}

}  // namespace atrous::tests
