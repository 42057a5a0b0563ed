#include "atrous/kernels/channels.cuh"
#include "atrous/kernels/elementwise/elementwise.cuh"
#include "atrous/kernels/reduce/block_reduce.cuh"
#include "atrous/kernels/reduce/reduce.h"
#include "atrous/kernels/reduce/reduce_body.h"

namespace atrous::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMostBlocks = 1024;  // results of the first launch, joined by one block of the second

template <class Rule>
struct Join {
  __device__ __forceinline__ double operator()(double a, double b) const { return Rule::join(a, b); }
};

// A thread joins vectors t, t + threads of the grid, ... into a double for each lane of a vector; a block
// joins those of its threads. The order depends on the size and on where x begins within 16 bytes. Floor:
// bytes of x.
template <class T, class Rule>
__global__ void __launch_bounds__(kThreads)
    reduce_kernel(const T* x, std::int64_t head, std::int64_t vectors, std::int64_t n, double* of_blocks) {
  using A = Accumulator<T>;
  constexpr int V = kVector<T>;
  const std::int64_t first = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t stride = std::int64_t(gridDim.x) * kThreads;
  double lanes[V];
  ATROUS_UNROLL
  for (int l = 0; l < V; ++l) lanes[l] = Rule::kStart;
  for (std::int64_t i = first; i < vectors; i += stride) {
    A v[V];
    load_channels<T, V>(x + head + i * V, v);
    ATROUS_UNROLL
    for (int l = 0; l < V; ++l) lanes[l] = Rule::join(lanes[l], Rule::load(double(v[l])));
  }
  for (std::int64_t i = first; i < n - vectors * V; i += stride)
    lanes[0] = Rule::join(lanes[0], Rule::load(double(A(x[i < head ? i : i + vectors * V]))));
  ATROUS_UNROLL
  for (int l = 1; l < V; ++l) lanes[0] = Rule::join(lanes[0], lanes[l]);
  const double all = block_reduce<kThreads>(lanes[0], Join<Rule>());
  if (threadIdx.x == 0) of_blocks[blockIdx.x] = all;
}

struct AsItIs {
  __device__ double operator()(double v) const { return v; }
};
struct OneIfZero {
  __device__ double operator()(double v) const { return v == 0 ? 1 : 0; }
};

// One block joins the results of all blocks.
template <class Rule, class Finish>
__global__ void __launch_bounds__(kThreads)
    reduce_finish_kernel(const double* of_blocks, int count, Finish finish, double* result) {
  double all = Rule::kStart;
  for (int i = int(threadIdx.x); i < count; i += kThreads) all = Rule::join(all, of_blocks[i]);
  all = block_reduce<kThreads>(all, Join<Rule>());
  if (threadIdx.x == 0) *result = finish(all);
}

template <class Rule, class T, class Finish>
void reduce(Stream stream, Span<const T> x, Span<double> scratch, Span<double> result, const Finish& finish) {
  constexpr int V = kVector<T>;
  const std::int64_t n = x.size(), leaves = reduce_workspace_size(n);
  const std::int64_t blocks = leaves < kMostBlocks ? leaves : kMostBlocks;
  std::int64_t head = V == 1 ? 0 : (V - misalignment(x.data())) % V;
  if (head > n) head = n;
  if (blocks > 0)
    ATROUS_LAUNCH((reduce_kernel<T, Rule>), unsigned(blocks), kThreads, 0, stream, x.data(), head,
                  (n - head) / V, n, scratch.data());
  ATROUS_LAUNCH((reduce_finish_kernel<Rule, Finish>), 1, kThreads, 0, stream,
                static_cast<const double*>(scratch.data()), int(blocks), finish, result.data());
}

template <class T>
struct FillScaled {
  double factor;
  const T* dy;
  Span<T> dx;
  __device__ void operator()(std::int64_t i) const { dx[i] = T(factor * double(Accumulator<T>(*dy))); }
};

}  // namespace

template <class T>
void sum_forward(Stream stream, Span<const T> x, Span<double> scratch, Span<double> result) {
  reduce<SumRule>(stream, x, scratch, result, AsItIs());
}
ATROUS_INSTANTIATE(sum_forward);

template <class T>
void sum_of_squares(Stream stream, Span<const T> x, Span<double> scratch, Span<double> result) {
  reduce<SumOfSquaresRule>(stream, x, scratch, result, AsItIs());
}
ATROUS_INSTANTIATE(sum_of_squares);

template <class T>
void max_abs(Stream stream, Span<const T> x, Span<double> scratch, Span<double> result) {
  reduce<MaxAbsRule>(stream, x, scratch, result, AsItIs());
}
ATROUS_INSTANTIATE(max_abs);

template <class T>
void all_finite(Stream stream, Span<const T> x, Span<double> scratch, Span<double> result) {
  reduce<AllFiniteRule>(stream, x, scratch, result, OneIfZero());
}
ATROUS_INSTANTIATE(all_finite);

template <class T>
void sum_backward(Stream stream, double factor, Span<const T> dy, Span<T> dx) {
  for_each(stream, dx.size(), FillScaled<T>{factor, dy.data(), dx});
}
ATROUS_INSTANTIATE(sum_backward);

}  // namespace atrous::kernels::cuda
