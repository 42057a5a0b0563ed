#pragma once

#include <cstdint>

// What this machine can do, measured in the same run as the kernels, so that results read as ratios: machines
// differ and are noisy, ratios travel.

namespace atrous::bench {

/// c = a b with Eigen's product, compiled for this very processor and run on all threads by blocks of rows.
/// Row-major a [m, k], b [k, n], c [m, n].
void eigen_gemm(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, const float* b, float* c);

/// Copies on all threads.
void copy(const float* from, float* to, std::int64_t n);

/// Multiply-adds on registers alone, on all threads; returns the floating-point operations done (two for each
/// multiply-add).
double fma_peak();

}  // namespace atrous::bench
