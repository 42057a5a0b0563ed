#include "atrous/kernels/gaussian_filter/separable_gaussian_simd.h"

#include "atrous/kernels/simd_vector.h"

namespace atrous::kernels::simd::ATROUS_ISA {

void gaussian_taps(long n, long first, long last, long step, const float* weights, const float* from,
                   float* to) {
  long j = 0;
  for (; j + 4 * kLanes <= n; j += 4 * kLanes) {
    Vec sum[4] = {};
    for (long k = first; k <= last; ++k) {
      const Vec w = broadcast(weights[k < 0 ? -k : k]);
      const float* p = from + j + k * step;
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sum[v] += w * load(p + v * kLanes);
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) store(to + j + v * kLanes, sum[v]);
  }
  for (; j < n; j += kLanes) {
    const long lanes = n - j < kLanes ? n - j : kLanes;
    Vec sum{};
    for (long k = first; k <= last; ++k)
      sum += broadcast(weights[k < 0 ? -k : k]) * load_part(from + j + k * step, lanes);
    store_part(to + j, sum, lanes);
  }
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
