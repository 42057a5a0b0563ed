#include "atrous/kernels/batch_norm/batch_norm_on_chip.cuh"
#include "atrous/kernels/batch_norm/batch_norm_on_chip.h"
#include "atrous/kernels/batch_norm/batch_norm_statistics.cuh"
#include "atrous/kernels/grid_barrier.cuh"

namespace atrous::kernels::cuda {
namespace {

/// Where this block stands among all.
__device__ __forceinline__ std::int64_t block_of_grid() {
  return blockIdx.x + std::int64_t(blockIdx.y) * gridDim.x;
}
__device__ __forceinline__ std::int64_t blocks_of_grid() { return std::int64_t(gridDim.x) * gridDim.y; }

/// The vectors of one map that a thread keeps: the first in registers, the rest in shared memory, where the
/// threads of a block lie side by side.
template <class T, int V, int InRegisters>
struct Kept {
  uint4 registers[InRegisters];
  uint4* shared;
  int threads;  // that keep something

  __device__ __forceinline__ void put_shared(int row, const Channels<T, V>& c) {
    store16(shared + (row - InRegisters) * threads + int(threadIdx.x), c.raw);
  }
  __device__ __forceinline__ Channels<T, V> from_shared(int row) const {
    return {load16(shared + (row - InRegisters) * threads + int(threadIdx.x))};
  }
};

// A block owns a strip, which it reads once: loads and sums, barrier, blocks finish 8 channels each in turns,
// barrier, what was kept is normalised. Floor: bytes of x (and of the residual) read, of y written.
//   sums  as strip_statistics_kernel
template <class T, int V, bool Residual>
__global__ void __launch_bounds__(OnChipPlan::kThreads, kStripBlocks)
    forward_on_chip_kernel(OnChipPlan plan, NormaliseAndActivate<T, Residual> map, double* sums, double* mean,
                           double* var, BatchNormCoefficients<T> coefficients) {
  using A = Accumulator<T>;
  constexpr int R = kForwardRegisterVectors;
  ATROUS_DYN_SHARED(bytes);
  double* const fold = reinterpret_cast<double*>(bytes);
  const ChannelStrips& s = plan.strips;
  const StripPart p = strip_part<V>(s);
  const T* const x = map.in[0];
  Kept<T, V, R> kept;
  kept.shared = reinterpret_cast<uint4*>(bytes + plan.fold_bytes);
  kept.threads = plan.working_threads();
  ShiftedSums<T, V> own;
  own.clear();
  ATROUS_UNROLL
  for (int row = 0; row < R; ++row)
    if (row < p.whole) kept.registers[row] = load16(x + p.at + row * p.step);
  if (p.whole > 0) unpack<T, V>(Channels<T, V>{kept.registers[0]}, own.shift);
  ATROUS_UNROLL
  for (int row = 0; row < R; ++row)
    if (row < p.whole) own.add(Channels<T, V>{kept.registers[row]});
  constexpr int kRows = 4;
  for (int row = R; row < p.whole; row += kRows) {
    Channels<T, V> raw[kRows];
    ATROUS_UNROLL
    for (int r = 0; r < kRows; ++r)
      if (row + r < p.whole) raw[r] = load_channels<T, V>(x + p.at + (row + r) * p.step);
    ATROUS_UNROLL
    for (int r = 0; r < kRows; ++r)
      if (row + r < p.whole) {
        kept.put_shared(row + r, raw[r]);
        own.add(raw[r]);
      }
  }
  fold_statistics(s, p, own, fold, sums);
  ATROUS_GRID_BARRIER();

  const std::int64_t groups = (s.channels + kFinishChannels - 1) / kFinishChannels;
  for (std::int64_t group = block_of_grid(); group < groups; group += blocks_of_grid())
    finish_statistics(group, s.pixels, s.each, s.strips, s.channels, sums, reinterpret_cast<Moments*>(fold),
                      [&](std::int64_t c, double m, double v) {
                        mean[c] = m, var[c] = v;
                        coefficients(c);
                      });
  ATROUS_GRID_BARRIER();

  if (p.whole == 0) return;
  A k[V][3];
  load_constants<V>(s, p, map.constants, k);
  const auto write = [&](int row, const Channels<T, V>& raw) {
    constexpr int N = Residual ? 2 : 1;
    const std::int64_t at = p.at + row * p.step;
    A values[N][V], results[V];
    unpack<T, V>(raw, values[0]);
    if constexpr (Residual) load_channels<T, V>(map.in[1] + at, values[1]);
    ATROUS_UNROLL
    for (int e = 0; e < V; ++e) {
      A v[N], result[1];
      ATROUS_UNROLL
      for (int i = 0; i < N; ++i) v[i] = values[i][e];
      map.apply(v, k[e], result);
      results[e] = result[0];
    }
    store_channels<T, V>(map.out[0] + at, results);
  };
  ATROUS_UNROLL
  for (int row = 0; row < R; ++row)
    if (row < p.whole) write(row, Channels<T, V>{kept.registers[row]});
  for (int row = R; row < p.whole; ++row) write(row, kept.from_shared(row));
}

// As above: a block keeps x and g, what of dy passes the activation; dresidual, which is g, is written at
// once. Floor: bytes of x and dy (and y) read, of dx (and dresidual) written.
//   sums  as strip_sums_kernel
template <class T, int V, Cut C, bool Residual>
__global__ void __launch_bounds__(OnChipPlan::kThreads, kStripBlocks)
    backward_on_chip_kernel(OnChipPlan plan, PassingSums<T, C> rule, PassingGradient<T, C, Residual> map,
                            double* sums, GradientFinish<T> finish) {
  using A = Accumulator<T>;
  constexpr int R = kBackwardRegisterVectors, N = PassingSums<T, C>::kInputs,
                K = PassingSums<T, C>::kConstants;
  ATROUS_DYN_SHARED(bytes);
  double* const fold = reinterpret_cast<double*>(bytes);
  const ChannelStrips& s = plan.strips;
  const StripPart p = strip_part<V>(s);
  Kept<T, V, R> kept_x, kept_g;
  kept_x.shared = reinterpret_cast<uint4*>(bytes + plan.fold_bytes);
  kept_x.threads = kept_g.threads = plan.working_threads();
  kept_g.shared = kept_x.shared + plan.shared_vectors * kept_x.threads;
  A total[2][V] = {};
  {
    A k[V][K];
    if (p.whole > 0) load_constants<V>(s, p, rule.constants, k);
    // One row: adds its terms, gives g.
    const auto take = [&](int row, const Channels<T, V>(&raw)[N]) -> Channels<T, V> {
      A values[N][V], g[V];
      ATROUS_UNROLL
      for (int i = 0; i < N; ++i) unpack<T, V>(raw[i], values[i]);
      ATROUS_UNROLL
      for (int e = 0; e < V; ++e) {
        A v[N], q[2];
        ATROUS_UNROLL
        for (int i = 0; i < N; ++i) v[i] = values[i][e];
        rule.terms(v, k[e], q);
        total[0][e] += q[0];
        total[1][e] += q[1];
        g[e] = q[0];
      }
      Channels<T, V> packed = raw[1];
      if constexpr (C != Cut::nothing) packed = pack_channels<T, V>(g);
      if constexpr (Residual) store16(map.out[1] + p.at + row * p.step, packed.raw);
      return packed;
    };
    const auto load = [&](int row, Channels<T, V>(&raw)[N]) {
      ATROUS_UNROLL
      for (int i = 0; i < N; ++i) raw[i] = load_channels<T, V>(rule.in[i] + p.at + row * p.step);
    };
    constexpr int kRows = 2;
    ATROUS_UNROLL
    for (int row = 0; row < R; row += kRows) {
      Channels<T, V> raw[kRows][N];
      ATROUS_UNROLL
      for (int r = 0; r < kRows; ++r)
        if (row + r < p.whole) load(row + r, raw[r]);
      ATROUS_UNROLL
      for (int r = 0; r < kRows; ++r)
        if (row + r < p.whole) {
          kept_x.registers[row + r] = raw[r][0].raw;
          kept_g.registers[row + r] = take(row + r, raw[r]).raw;
        }
    }
    for (int row = R; row < p.whole; row += kRows) {
      Channels<T, V> raw[kRows][N];
      ATROUS_UNROLL
      for (int r = 0; r < kRows; ++r)
        if (row + r < p.whole) load(row + r, raw[r]);
      ATROUS_UNROLL
      for (int r = 0; r < kRows; ++r)
        if (row + r < p.whole) {
          kept_x.put_shared(row + r, raw[r][0]);
          kept_g.put_shared(row + r, take(row + r, raw[r]));
        }
    }
  }
  double of_thread[2][V];
  ATROUS_UNROLL
  for (int j = 0; j < 2; ++j) {
    ATROUS_UNROLL
    for (int e = 0; e < V; ++e) of_thread[j][e] = double(total[j][e]);
  }
  fold_strip<2, V>(s, p, of_thread, fold, [&](std::int64_t c, int j, double of_channel) {
    sums[(std::int64_t(blockIdx.x) * 2 + j) * s.channels + c] = of_channel;
  });
  ATROUS_GRID_BARRIER();

  const std::int64_t groups = (s.channels + kFinishChannels - 1) / kFinishChannels;
  for (std::int64_t group = block_of_grid(); group < groups; group += blocks_of_grid())
    finish_strip_sums<2>(group, s.strips, s.channels, sums, reinterpret_cast<double(*)[kFinishThreads]>(fold),
                         finish);
  ATROUS_GRID_BARRIER();

  if (p.whole == 0) return;
  A k[V][4];
  const A* const constants[4] = {map.constants[0], map.constants[1], map.constants[2], map.constants[3]};
  load_constants<V>(s, p, constants, k);
  const auto write = [&](int row, const Channels<T, V>& of_x, const Channels<T, V>& of_g) {
    A x[V], g[V], dx[V];
    unpack<T, V>(of_x, x);
    unpack<T, V>(of_g, g);
    ATROUS_UNROLL
    for (int e = 0; e < V; ++e) dx[e] = input_gradient(x[e], g[e], k[e][0], k[e][1], k[e][2], k[e][3]);
    store_channels<T, V>(map.out[0] + p.at + row * p.step, dx);
  };
  ATROUS_UNROLL
  for (int row = 0; row < R; ++row)
    if (row < p.whole)
      write(row, Channels<T, V>{kept_x.registers[row]}, Channels<T, V>{kept_g.registers[row]});
  for (int row = R; row < p.whole; ++row) write(row, kept_x.from_shared(row), kept_g.from_shared(row));
}

/// Whether all blocks of the plan are alive at once; readies the kernel for its shared memory.
template <class... P>
bool fits(Stream stream, void (*kernel)(P...), const OnChipPlan& plan) {
  if (!plan.possible()) return false;
  int most = 0;
  ATROUS_CUDA_CHECK("batch_norm", cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                                         stream.device.index));
  if (plan.shared_bytes > std::size_t(most)) return false;
  ATROUS_CUDA_CHECK("batch_norm", cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                       int(plan.shared_bytes)));
  return plan.blocks() <= resident_blocks(stream, kernel, OnChipPlan::kThreads, plan.shared_bytes);
}

template <Cut C, bool Residual, class T>
bool backward_as(const BackwardPass<T>& pass) {
  const OnChipPlan plan =
      plan_on_chip(pass.dims.pixels, pass.dims.channels, int(sizeof(T)), 2, kBackwardRegisterVectors);
  const auto kernel = backward_on_chip_kernel<T, kVector<T>, C, Residual>;
  if (!fits(pass.stream, kernel, plan)) return false;
  pass.template make_forward_coefficients<C>();
  ATROUS_LAUNCH_COOPERATIVE((backward_on_chip_kernel<T, kVector<T>, C, Residual>),
                            dim3(unsigned(plan.strips.strips), unsigned(plan.strips.tiles)),
                            unsigned(OnChipPlan::kThreads), plan.shared_bytes, pass.stream, plan,
                            pass.template sums_rule<C>(), (pass.template map<C, Residual>()),
                            pass.sums.data(), pass.finish());
  return true;
}

template <bool Residual, class T>
bool forward_as(Stream stream, const BatchNormDims& dims, const NormaliseAndActivate<T, Residual>& map,
                Span<double> sums, const BatchNormCoefficients<T>& coefficients, Span<double> mean,
                Span<double> var) {
  const OnChipPlan plan =
      plan_on_chip(dims.pixels, dims.channels, int(sizeof(T)), 1, kForwardRegisterVectors);
  const auto kernel = forward_on_chip_kernel<T, kVector<T>, Residual>;
  if (!fits(stream, kernel, plan)) return false;
  ATROUS_LAUNCH_COOPERATIVE((forward_on_chip_kernel<T, kVector<T>, Residual>),
                            dim3(unsigned(plan.strips.strips), unsigned(plan.strips.tiles)),
                            unsigned(OnChipPlan::kThreads), plan.shared_bytes, stream, plan, map, sums.data(),
                            mean.data(), var.data(), coefficients);
  return true;
}

}  // namespace

template <class T>
bool forward_on_chip(Stream stream, const BatchNormDims& dims, Activation activation, Span<const T> x,
                     Span<const T> residual, double epsilon, Span<const T> gamma, Span<const T> beta,
                     Span<double> sums, Span<double> mean, Span<double> var,
                     Span<Accumulator<T>> coefficients, Span<T> y) {
  if constexpr (sizeof(T) == 8) {  // double is for checking gradients: plain bodies serve it
    return false;
  } else {
    if (!aligned<T>(x.data(), residual.data(), y.data())) return false;
    const std::int64_t c = dims.channels;
    const Accumulator<T>* k = coefficients.data();
    const Bounds<Accumulator<T>> bounds(activation);
    const BatchNormCoefficients<T> body{c, mean, var, epsilon, gamma, beta, coefficients};
    if (residual.empty())
      return forward_as<false, T>(stream, dims, {{x.data()}, {y.data()}, bounds, {k, k + c, k + 2 * c}}, sums,
                                  body, mean, var);
    return forward_as<true, T>(stream, dims,
                               {{x.data(), residual.data()}, {y.data()}, bounds, {k, k + c, k + 2 * c}}, sums,
                               body, mean, var);
  }
}

template <class T>
bool backward_on_chip(const BackwardPass<T>& pass) {
  if constexpr (sizeof(T) == 8) {
    return false;
  } else {
    if (!pass.training || pass.gradients.dx.empty() || !pass.vectors_in() || !pass.vectors_out())
      return false;
    const bool residual = !pass.gradients.dresidual.empty();
    switch (pass.cut()) {
      case Cut::nothing:  // with a residual its gradient is dy, which nobody needs to copy
        return !residual && backward_as<Cut::nothing, false>(pass);
      case Cut::seen_in_x:  // there was no residual
        return !residual && backward_as<Cut::seen_in_x, false>(pass);
      case Cut::seen_in_y:
        return residual ? backward_as<Cut::seen_in_y, true>(pass) : backward_as<Cut::seen_in_y, false>(pass);
    }
    return false;
  }
}

#define ATROUS_ON_CHIP(T)                                                                                  \
  template bool forward_on_chip<T>(Stream, const BatchNormDims&, Activation, Span<const T>, Span<const T>, \
                                   double, Span<const T>, Span<const T>, Span<double>, Span<double>,       \
                                   Span<double>, Span<Accumulator<T>>, Span<T>);                           \
  template bool backward_on_chip<T>(const BackwardPass<T>&)
ATROUS_ON_CHIP(float);
ATROUS_ON_CHIP(double);
ATROUS_ON_CHIP(bf16);

}  // namespace atrous::kernels::cuda
