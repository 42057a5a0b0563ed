#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "atrous/core/random.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"

// Support of the convolutions' CUDA tests. Values are small multiples of 1/8, so that every sum is exact in
// single precision and in whatever order: results must equal the formula's bit for bit, in every type.

namespace atrous::tests {

using kernels::Activation;
using kernels::Conv2dDims;

template <class T>
std::vector<T> eighths(std::int64_t n, std::uint64_t seed) {
  Random random(seed);
  std::vector<T> v(static_cast<std::size_t>(n));
  for (T& x : v) x = T(float(int(random.uniform(0, 17))) / 8 - 1);
  return v;
}

inline double number(float v) { return v; }
inline double number(double v) { return v; }
inline double number(bf16 v) { return float(v); }

inline bool same(float a, float b) { return a == b; }
inline bool same(double a, double b) { return a == b; }
inline bool same(bf16 a, bf16 b) { return float(a) == float(b); }

/// How many elements differ from T(truth).
template <class T>
std::int64_t differing(const std::vector<T>& got, const std::vector<double>& truth) {
  std::int64_t count = got.size() == truth.size() ? 0 : 1;
  for (std::size_t i = 0; i < got.size() && i < truth.size(); ++i) count += !same(got[i], T(float(truth[i])));
  return count;
}

inline double activated(Activation activation, double v) {
  if (activation == Activation::hard_swish) return v * std::min(std::max(v + 3, 0.0), 6.0) / 6;
  if (activation != Activation::none && v < 0) return 0;
  return activation == Activation::relu6 && v > 6 ? 6 : v;
}

/// A convolution with its inputs, and its results by the formula in double.
template <class T>
struct ConvProblem {
  Conv2dDims d;
  std::vector<T> x, weight, bias, dy, input_bias;
  std::vector<double> y, dx, dweight, dbias;

  explicit ConvProblem(const Conv2dDims& sizes)
      : d(kernels::with_output_size(sizes)),
        x(eighths<T>(d.in_pixels() * d.in_channels, 1)),
        weight(eighths<T>(d.taps() * d.in_channels * d.out_channels, 2)),
        bias(eighths<T>(d.out_channels, 3)),
        dy(eighths<T>(d.out_pixels() * d.out_channels, 4)),
        input_bias(eighths<T>(d.in_channels, 5)),
        y(dy.size()),
        dx(x.size()),
        dweight(weight.size()),
        dbias(bias.size()) {
    const std::size_t outputs = std::size_t(d.out_channels);
    for (std::int64_t n = 0; n < d.batch; ++n)
      for (std::int64_t oh = 0; oh < d.out_h; ++oh)
        for (std::int64_t ow = 0; ow < d.out_w; ++ow)
          for (std::int64_t r = 0; r < d.window_h; ++r)
            for (std::int64_t s = 0; s < d.window_w; ++s) {
              const std::int64_t h = oh * d.stride.h + r * d.rate.h - d.padding.top;
              const std::int64_t w = ow * d.stride.w + s * d.rate.w - d.padding.left;
              if (h < 0 || h >= d.in_h || w < 0 || w >= d.in_w) continue;
              const std::size_t iy = std::size_t((n * d.out_h + oh) * d.out_w + ow) * outputs;
              for (std::int64_t c = 0; c < d.in_channels; ++c) {
                const std::size_t ix = std::size_t(((n * d.in_h + h) * d.in_w + w) * d.in_channels + c);
                const std::size_t iw = std::size_t((r * d.window_w + s) * d.in_channels + c) * outputs;
                const double value = number(x[ix]);
                double sum = 0;
                for (std::size_t k = 0; k < outputs; ++k) {
                  const double w_k = number(weight[iw + k]), dy_k = number(dy[iy + k]);
                  y[iy + k] += value * w_k;
                  dweight[iw + k] += value * dy_k;
                  sum += dy_k * w_k;
                }
                dx[ix] += sum;
              }
            }
    for (std::size_t i = 0; i < dy.size(); ++i) dbias[i % outputs] += number(dy[i]);
  }

  std::vector<double> forward_truth(bool with_bias, Activation activation) const {
    std::vector<double> v = y;
    for (std::size_t i = 0; i < v.size(); ++i)
      v[i] = activated(activation, v[i] + (with_bias ? number(bias[i % bias.size()]) : 0));
    return v;
  }
};

/// Runs `kernel(workspace, result)` with a workspace of the given size; its result, if it kept within bounds.
template <class T, class Kernel>
std::vector<T> run_on_device(std::int64_t workspace_size, std::int64_t result_size, const Kernel& kernel) {
  OnDevice<T> workspace(workspace_size), result(result_size);
  kernel(workspace.span(), result.span());
  std::vector<T> values = result.values();
  CHECK(result.intact());
  CHECK(workspace.intact());
  return values;
}

}  // namespace atrous::tests
