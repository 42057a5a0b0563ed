#pragma once

#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/batch_norm/batch_norm_body.h"
#include "atrous/kernels/reduce/channel_strips.cuh"

// What the backward kernels with and without an activation share: sums over pixels by a rule, and what
// follows from them for each channel.

namespace atrous::kernels::cuda {

template <class T>
bool aligned(const T* a, const T* b = nullptr, const T* c = nullptr) {
  return in_vectors<T>(kVector<T>, a, b, c);
}

/// What follows from the two sums of one channel.
template <class T>
struct GradientFinish {
  BatchNormGradientCoefficients<T> body;
  Span<double> sum_dy, sum_dyx;
  __device__ void operator()(std::int64_t c, const double (&total)[2]) const {
    sum_dy[c] = total[0];
    sum_dyx[c] = total[1];
    body(c);
  }
};

/// Writes dgamma, dbeta and the coefficients of dx. The rule's two sums are those of the gradient g that
/// arrives and of g (x - center); `sums` is the workspace, its end takes the totals.
template <class T, class Rule>
void gradient_sums(Stream stream, const BatchNormDims& dims, bool training, Span<const double> mean,
                   Span<const double> var, double epsilon, Span<const T> gamma, bool vectors,
                   const Rule& rule, Span<double> sums, Span<Accumulator<T>> coefficients, Span<T> dgamma,
                   Span<T> dbeta) {
  const std::int64_t channels = dims.channels;
  const Span<double> total = sums.part(sums.size() - 2 * channels, 2 * channels);
  const Span<double> sum_dy = total.part(0, channels), sum_dyx = total.part(channels, channels);
  const BatchNormGradientCoefficients<T> body{dims.pixels, channels, training, mean,         var,    sum_dy,
                                              sum_dyx,     epsilon,  gamma,    coefficients, dgamma, dbeta};
  strip_sums<T>(stream, dims.pixels, channels, vectors, rule, sums.data(),
                GradientFinish<T>{body, sum_dy, sum_dyx});
}

}  // namespace atrous::kernels::cuda
