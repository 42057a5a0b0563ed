#include <cmath>

#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/batch_norm/batch_norm_gradient.cuh"
#include "atrous/kernels/batch_norm/batch_norm_on_chip.cuh"
#include "atrous/kernels/batch_norm/batch_norm_statistics.cuh"
#include "atrous/kernels/reduce/block_reduce.cuh"

// Two passes forward (statistics, normalise) and two backward (sums, gradient), each at the speed of memory;
// between them a kernel over channels. Passes are cut as channel_strips.h says. Where the maps fit on the
// chip, batch_norm_on_chip.cuh has both passes in one launch.

namespace atrous::kernels::cuda {
namespace {

constexpr int kThreads = 256;

// One block: nothing is written unless every new number is finite.
template <class A>
__global__ void __launch_bounds__(kThreads)
    update_running_kernel(BatchNormDims dims, const double* mean, const double* var, double decay,
                          A* running_mean, A* running_var) {
  const double unbiased = double(dims.pixels) / double(dims.pixels - 1);
  int bad = 0;
  for (std::int64_t c = threadIdx.x; c < dims.channels; c += kThreads) {
    const A m = next_running(running_mean[c], mean[c], decay);
    const A v = next_running(running_var[c], var[c] * unbiased, decay);
    bad |= !(m - m == A(0)) || !(v - v == A(0));
  }
  if (block_reduce<kThreads>(bad, Sum()) != 0) return;
  for (std::int64_t c = threadIdx.x; c < dims.channels; c += kThreads) {
    running_mean[c] = next_running(running_mean[c], mean[c], decay);
    running_var[c] = next_running(running_var[c], var[c] * unbiased, decay);
  }
}

// A block owns 8 channels.
__global__ void __launch_bounds__(kFinishThreads)
    statistics_finish_kernel(std::int64_t pixels, std::int64_t each, std::int64_t strips,
                             std::int64_t channels, const double* sums, double* mean, double* var) {
  ATROUS_SHARED(Moments, shared, [kFinishThreads]);
  finish_statistics(blockIdx.x, pixels, each, strips, channels, sums, shared,
                    [&](std::int64_t c, double m, double v) { mean[c] = m, var[c] = v; });
}

/// dx = a dy.
template <class T>
struct ScaleChannels {
  using A = Accumulator<T>;
  static constexpr int kInputs = 1, kConstants = 1, kOutputs = 1;
  const T* in[1];
  T* out[1];
  const A* constants[1];  // a
  __device__ __forceinline__ void apply(const A (&v)[1], const A (&k)[1], A (&y)[1]) const {
    y[0] = k[0] * v[0];
  }
};

/// A backward pass without activation.
template <class T>
BackwardPass<T> plain(Stream stream, const BatchNormDims& dims, bool training,
                      const BatchNormChannels<T>& norm, Span<const T> x, Span<const T> dy, Span<double> sums,
                      Span<Accumulator<T>> coefficients, const BatchNormGradients<T>& gradients) {
  return {stream, dims, Activation::none, training, norm, x, {}, dy, sums, coefficients, gradients};
}

}  // namespace

template <class T>
void batch_norm_statistics(Stream stream, const BatchNormDims& dims, Span<const T> x, Span<double> sums,
                           Span<double> mean, Span<double> var) {
  constexpr int V = kVector<T>;
  const std::int64_t channels = dims.channels;
  if (channels == 0) return;
  const std::int64_t each = strip_pixels(dims.pixels, channels);
  ChannelStrips s = ChannelStrips::of(dims.pixels, channels, V, each);
  if (V > 1 && aligned(x.data()) && s.ok()) {
    ATROUS_LAUNCH((strip_statistics_kernel<T, V>), dim3(unsigned(s.strips), unsigned(s.tiles)),
                  unsigned(s.threads()), strip_shared_bytes<V>(s.threads()), stream, s, x.data(),
                  sums.data());
  } else {
    s = ChannelStrips::of(dims.pixels, channels, 1, each);
    ATROUS_LAUNCH((strip_statistics_kernel<T, 1>), dim3(unsigned(s.strips), unsigned(s.tiles)),
                  unsigned(s.threads()), strip_shared_bytes<1>(s.threads()), stream, s, x.data(),
                  sums.data());
  }
  ATROUS_LAUNCH(statistics_finish_kernel, finish_blocks(channels), unsigned(kFinishThreads), 0, stream,
                dims.pixels, each, s.strips, channels, static_cast<const double*>(sums.data()), mean.data(),
                var.data());
}
ATROUS_INSTANTIATE(batch_norm_statistics);

template <class T>
void batch_norm_running_statistics(Stream stream, Span<const Accumulator<T>> running_mean,
                                   Span<const Accumulator<T>> running_var, Span<double> mean,
                                   Span<double> var) {
  for_each(stream, mean.size(),
           BatchNormRunningStatistics<Accumulator<T>>{running_mean, running_var, mean, var});
}
ATROUS_INSTANTIATE(batch_norm_running_statistics);

template <class T>
void batch_norm_update_running(Stream stream, const BatchNormDims& dims, Span<const double> mean,
                               Span<const double> var, double decay, Span<Accumulator<T>> running_mean,
                               Span<Accumulator<T>> running_var) {
  ATROUS_LAUNCH((update_running_kernel<Accumulator<T>>), 1, kThreads, 0, stream, dims, mean.data(),
                var.data(), decay, running_mean.data(), running_var.data());
}
ATROUS_INSTANTIATE(batch_norm_update_running);

template <class T>
void batch_norm_forward(Stream stream, const BatchNormDims& dims, Span<const T> x, Span<const double> mean,
                        Span<const double> var, double epsilon, Span<const T> gamma, Span<const T> beta,
                        Span<Accumulator<T>> coefficients, Span<T> y) {
  batch_norm_activation_forward<T>(stream, dims, Activation::none, {mean, var, epsilon, gamma, beta}, x, {},
                                   coefficients, y);
}
ATROUS_INSTANTIATE(batch_norm_forward);

template <class T>
void batch_norm_backward_training(Stream stream, const BatchNormDims& dims, Span<const T> x, Span<const T> dy,
                                  Span<const double> mean, Span<const double> var, double epsilon,
                                  Span<const T> gamma, Span<double> sums, Span<Accumulator<T>> coefficients,
                                  Span<T> dx, Span<T> dgamma, Span<T> dbeta) {
  const BackwardPass<T> pass = plain(stream, dims, true, {mean, var, epsilon, gamma, {}}, x, dy, sums,
                                     coefficients, {dx, {}, dgamma, dbeta});
  if (!backward_on_chip(pass)) backward_in_passes<Cut::nothing>(pass);
}
ATROUS_INSTANTIATE(batch_norm_backward_training);

template <class T>
void batch_norm_backward_frozen(Stream stream, const BatchNormDims& dims, Span<const T> x, Span<const T> dy,
                                Span<const double> mean, Span<const double> var, double epsilon,
                                Span<const T> gamma, Span<double> sums, Span<Accumulator<T>> coefficients,
                                Span<T> dx, Span<T> dgamma, Span<T> dbeta) {
  backward_sums<Cut::nothing>(plain(stream, dims, false, {mean, var, epsilon, gamma, {}}, x, dy, sums,
                                    coefficients, {dx, {}, dgamma, dbeta}));
  if (dx.empty()) return;
  strip_map<T>(stream, dims.pixels, dims.channels, aligned(dy.data(), dx.data()),
               ScaleChannels<T>{{dy.data()}, {dx.data()}, {coefficients.data() + dims.channels}});
}
ATROUS_INSTANTIATE(batch_norm_backward_frozen);

template <class T>
void batch_norm_fold(Stream stream, std::int64_t channels, Span<const T> gamma, Span<const T> beta,
                     Span<const Accumulator<T>> mean, Span<const Accumulator<T>> var, double epsilon,
                     Span<const T> weight, Span<const T> bias, Span<T> folded_weight, Span<T> folded_bias) {
  for_each(stream, weight.size(), BatchNormFold<T>{channels, gamma, var, epsilon, weight, folded_weight});
  for_each(stream, channels, BatchNormFoldBias<T>{gamma, beta, mean, var, epsilon, bias, folded_bias});
}
ATROUS_INSTANTIATE(batch_norm_fold);

}  // namespace atrous::kernels::cuda
