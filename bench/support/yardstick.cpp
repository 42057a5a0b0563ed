#include "bench/support/yardstick.h"

#include <cstring>

#include "atrous/core/parallel.h"

// This file is compiled with -march=native, so its copy of Eigen gets a name of its own: the linker would
// merge it with the library's, which is compiled for every processor.
#define Eigen EigenForThisProcessor
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>

namespace atrous::bench {

void eigen_gemm(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, const float* b, float* c) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::Map<const Matrix> all_b(b, n ? k : 0, n);
  parallel_for(m, 64, [&](std::int64_t begin, std::int64_t end) {
    const Eigen::Map<const Matrix> rows(a + begin * k, end - begin, k);
    Eigen::Map<Matrix> out(c + begin * n, end - begin, n);
    out.noalias() = rows * all_b;
  });
}

void copy(const float* from, float* to, std::int64_t n) {
  parallel_for(n, 1 << 12, [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(to + begin, from + begin, std::size_t(end - begin) * sizeof(float));
  });
}

double fma_peak() {
#if defined(__AVX512F__)
  constexpr int kBytes = 64;
#elif defined(__AVX__)
  constexpr int kBytes = 32;
#else
  constexpr int kBytes = 16;
#endif
  typedef float Vec __attribute__((vector_size(kBytes)));
  constexpr int kChains = 12;  // more than latency times units on every processor of today
  constexpr std::int64_t kRounds = 1 << 18;
  const int team = threads();
  parallel_for(team, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      Vec sum[kChains] = {};
      for (int c = 0; c < kChains; ++c) asm volatile("" : "+x"(sum[c]));  // not known to be equal
      Vec x = Vec{} + 1.0001f, y = Vec{} + 0.9999f;
      for (std::int64_t i = 0; i < kRounds; ++i) {
        for (int c = 0; c < kChains; ++c) sum[c] = sum[c] * x + y;
        asm volatile("" : "+x"(x), "+x"(y));
      }
      for (int c = 0; c < kChains; ++c) asm volatile("" : : "x"(sum[c]));
    }
  });
  return 2.0 * team * kChains * double(kRounds) * (kBytes / 4);
}

}  // namespace atrous::bench
