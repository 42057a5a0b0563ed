#pragma once

#include <cstdint>

#include "atrous/core/span.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

// When and how results are written past the cache (store_past_cache of simd_vector.h).

namespace atrous::kernels {

/// Whether a result is better written past the cache: it begins on a line and is larger than `cached` bytes,
/// so that what it would push out is read sooner than it is. Kernels that write whole lines alone ask for
/// that, too.
template <class T>
bool leaves_cache(Span<T> result, std::int64_t cached = 14 << 20) {
  return result.size() * std::int64_t(sizeof(T)) > cached && std::uintptr_t(result.data()) % 64 == 0;
}

/// Waits until what this thread wrote by store_past_cache is visible to other threads. At the
/// end of every part of a parallel_for that does.
inline void streaming_fence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

}  // namespace atrous::kernels
