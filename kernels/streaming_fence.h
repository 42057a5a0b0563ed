#pragma once

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace atrous::kernels {

/// Waits until what this thread wrote by store_past_cache (simd_vector.h) is visible to other threads. At the
/// end of every part of a parallel_for that does.
inline void streaming_fence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

}  // namespace atrous::kernels
