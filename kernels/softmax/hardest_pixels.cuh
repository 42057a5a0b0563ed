#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "atrous/core/span.h"
#include "atrous/kernels/for_each_cuda.cuh"
#include "atrous/kernels/reduce/block_reduce.cuh"

// Hard-pixel mining on CUDA: the k pixels of the largest w losses, by selection on the bits of the numbers.
//
// A number is turned into an unsigned key of the same order. Digit by digit, 8 bits from the top, a histogram
// of the keys that agree with what is known so far tells the next digit of the k-th largest key. Counts are
// integers, so the order in which threads add them does not matter. Of the pixels equal to the last one kept,
// those that come first stay: they are counted chunk by chunk, the counts are summed, and each such pixel
// finds its rank.

namespace atrous::kernels::cuda {

inline constexpr int kHardThreads = 256;
inline constexpr std::int64_t kHardChunk = 1024;  // pixels of a block

/// What the launches hand on, in the workspace.
template <class A>
struct HardState {
  using Key = std::conditional_t<sizeof(A) == 8, unsigned long long, unsigned>;
  unsigned long long histogram[256];
  unsigned long long known;  ///< digits of the k-th largest key, from the top; the rest zeros
  unsigned long long mask;   ///< which bits of it are known
  long long left;            ///< how many of the keys that agree with `known` are to be kept
  unsigned long long unused[5];
  // Behind it: how many equal pixels each chunk has, then how many come before each chunk.
  __device__ __forceinline__ long long* of_chunks() { return reinterpret_cast<long long*>(this + 1); }
};

template <class A>
struct HardCall {
  using Key = typename HardState<A>::Key;
  std::int64_t pixels;
  double hard_fraction;
  const std::int32_t* targets;
  const A* losses;
  A* scales;
  HardState<A>* state;

  /// What pixel p adds to the loss, as a key. NaN ranks as infinite: a broken pixel must show.
  __device__ __forceinline__ Key key(std::int64_t p) const {
    const A h = scales[p] == A(0) ? A(0) : scales[p] * losses[p];
    // Of both zeros one; of all NaNs plus infinity.
    if constexpr (sizeof(A) == 4) {
      const unsigned bits = h == A(0) ? 0u : h != h ? 0x7f800000u : __float_as_uint(h);
      return bits >> 31 ? ~bits : bits | 0x80000000u;
    } else {
      const auto raw = static_cast<unsigned long long>(__double_as_longlong(h));
      const unsigned long long bits = h == A(0) ? 0ull : h != h ? 0x7ff0000000000000ull : raw;
      return bits >> 63 ? ~bits : bits | 0x8000000000000000ull;
    }
  }
  __device__ __forceinline__ bool agrees(Key k) const { return (k & state->mask) == state->known; }
};

template <class A>
__global__ void __launch_bounds__(kHardThreads) hard_begin_kernel(HardState<A>* state) {
  state->histogram[threadIdx.x] = 0;
  if (threadIdx.x == 0) state->known = state->mask = 0, state->left = -1;
}

// A block counts the digits at `shift` of a chunk's keys that agree with what is known.
template <class A>
__global__ void __launch_bounds__(kHardThreads) hard_histogram_kernel(HardCall<A> call, int shift) {
  ATROUS_SHARED(unsigned, counts, [256]);
  counts[threadIdx.x] = 0;
  __syncthreads();
  for (int k = 0; k < int(kHardChunk / kHardThreads); ++k) {
    const std::int64_t p = blockIdx.x * kHardChunk + k * kHardThreads + threadIdx.x;
    if (p >= call.pixels || call.targets[p] < 0) continue;
    const auto key = call.key(p);
    if (call.agrees(key)) atomicAdd(&counts[unsigned(key >> shift) & 255u], 1u);
  }
  __syncthreads();
  if (counts[threadIdx.x])
    atomicAdd(&call.state->histogram[threadIdx.x], static_cast<unsigned long long>(counts[threadIdx.x]));
}

// One block: the digit in which the last pixel kept lies. Thread t has digit 255 - t.
template <class A>
__global__ void __launch_bounds__(kHardThreads) hard_digit_kernel(HardCall<A> call, int shift) {
  HardState<A>& state = *call.state;
  const int digit = 255 - int(threadIdx.x);
  const long long count = static_cast<long long>(state.histogram[digit]);
  long long valid;
  const long long above = threads_before<kHardThreads>(count, valid);
  long long left = state.left;
  if (left < 0) {  // the first digit: every pixel with a target is in the histogram
    // The factor keeps 0.1 * 30 = 3.0000000000000004 from asking for a fourth pixel.
    left = static_cast<long long>(std::ceil(call.hard_fraction * double(valid) * (1 - 1e-12)));
    left = left < 1 ? 1 : left > valid ? valid : left;
  }
  __syncthreads();  // everyone has read the state
  state.histogram[digit] = 0;
  if (above < left && left <= above + count) {
    state.known |= static_cast<unsigned long long>(digit) << shift;
    state.mask |= 255ull << shift;
    state.left = left - above;
  }
}

// A block counts the pixels of a chunk that are equal to the last one kept.
template <class A>
__global__ void __launch_bounds__(kHardThreads) hard_count_kernel(HardCall<A> call) {
  int equal = 0;
  for (int k = 0; k < int(kHardChunk / kHardThreads); ++k) {
    const std::int64_t p = blockIdx.x * kHardChunk + k * kHardThreads + threadIdx.x;
    equal += p < call.pixels && call.targets[p] >= 0 && call.agrees(call.key(p));
  }
  equal = block_reduce<kHardThreads>(equal, Sum());
  if (threadIdx.x == 0) call.state->of_chunks()[blockIdx.x] = equal;
}

// One block: how many equal pixels come before each chunk.
template <class A>
__global__ void __launch_bounds__(kHardThreads) hard_scan_kernel(HardState<A>* state, std::int64_t chunks) {
  long long before = 0;
  for (std::int64_t first = 0; first < chunks; first += kHardThreads) {
    const std::int64_t chunk = first + threadIdx.x;
    const long long count = chunk < chunks ? state->of_chunks()[chunk] : 0;
    long long total;
    const long long own = threads_before<kHardThreads>(count, total);
    if (chunk < chunks) state->of_chunks()[chunk] = before + own;
    before += total;
  }
}

// A block clears the scales of a chunk's pixels that are not among the hardest, 256 pixels at a time.
template <class A>
__global__ void __launch_bounds__(kHardThreads) hard_clear_kernel(HardCall<A> call) {
  long long before = call.state->of_chunks()[blockIdx.x];
  for (int k = 0; k < int(kHardChunk / kHardThreads); ++k) {
    const std::int64_t p = blockIdx.x * kHardChunk + k * kHardThreads + threadIdx.x;
    const bool valid = p < call.pixels && call.targets[p] >= 0;
    const auto key = valid ? call.key(p) : 0;
    const bool equal = valid && call.agrees(key);
    int total;
    const int own = threads_before<kHardThreads>(int(equal), total);
    if (valid && key <= call.state->known && !(equal && before + own < call.state->left))
      call.scales[p] = A(0);
    before += total;
  }
}

/// Sets the scales of all but the hardest pixels to 0.
template <class A>
void keep_hardest(Stream stream, double hard_fraction, Span<const std::int32_t> targets, const A* losses,
                  A* workspace, A* scales) {
  const std::uintptr_t at = (reinterpret_cast<std::uintptr_t>(workspace) + 7) / 8 * 8;
  const std::int64_t pixels = targets.size(), chunks = (pixels + kHardChunk - 1) / kHardChunk;
  HardState<A>* state = reinterpret_cast<HardState<A>*>(at);
  const HardCall<A> call{pixels, hard_fraction, targets.data(), losses, scales, state};
  const unsigned grid = unsigned(chunks);
  ATROUS_LAUNCH((hard_begin_kernel<A>), 1, kHardThreads, 0, stream, state);
  for (int shift = int(sizeof(A)) * 8 - 8; shift >= 0; shift -= 8) {
    ATROUS_LAUNCH((hard_histogram_kernel<A>), grid, kHardThreads, 0, stream, call, shift);
    ATROUS_LAUNCH((hard_digit_kernel<A>), 1, kHardThreads, 0, stream, call, shift);
  }
  ATROUS_LAUNCH((hard_count_kernel<A>), grid, kHardThreads, 0, stream, call);
  ATROUS_LAUNCH((hard_scan_kernel<A>), 1, kHardThreads, 0, stream, state, chunks);
  ATROUS_LAUNCH((hard_clear_kernel<A>), grid, kHardThreads, 0, stream, call);
}

}  // namespace atrous::kernels::cuda
