#pragma once

#include "atrous/core/cpu_isa.h"

// Loops that pay for wide vectors are compiled once for each instruction set and chosen at run time.
//
//   ATROUS_SIMD(scale_rows, const float* x, float* y, std::int64_t n);   in <family>_simd.h, namespace
//   atrous::kernels::simd:
//       declares baseline::scale_rows, avx2::scale_rows, avx512::scale_rows and scale_rows, which calls the
//       best of them
//
// ATROUS_SIMD_OF_EIGHT declares a function of vectors of eight floats at most, which avx2::name is for
// AVX-512 too: for data that comes in eights, where half a wide vector would be empty.
//
// <family>_simd.cpp defines it in namespace atrous::kernels::simd::ATROUS_ISA and is named in
// kernels/CMakeLists.txt by atrous_simd_sources(), which compiles it three times (UP_TO avx2: twice), with
// ATROUS_ISA and ATROUS_VECTOR_BYTES set and the flags of that set. Such a file uses no Eigen, no
// standard-library template and no inline function shared with the rest of the program: the linker would
// merge the copies and run AVX-512 instructions on a processor without them. Its vectors come from
// simd_vector.h.

namespace atrous::kernels::simd {

template <class Function>
class SimdFunction;

template <class Result, class... Args>
class SimdFunction<Result(Args...)> {
 public:
  using Function = Result(Args...);
  constexpr SimdFunction(Function* baseline, Function* avx2, Function* avx512)
      : table_{baseline, avx2, avx512} {}
  Result operator()(Args... args) const { return table_[int(cpu_isa())](args...); }
  /// The one for a given set; null where the architecture does not have it.
  Function* on(CpuIsa isa) const { return table_[int(isa)]; }

 private:
  Function* table_[3];
};

}  // namespace atrous::kernels::simd

#define ATROUS_SIMD(name, ...) ATROUS_SIMD_RESULT(void, name, __VA_ARGS__)
#if defined(__x86_64__)
#define ATROUS_SIMD_RESULT(result, name, ...) \
  namespace baseline {                        \
  result name(__VA_ARGS__);                   \
  }                                           \
  namespace avx2 {                            \
  result name(__VA_ARGS__);                   \
  }                                           \
  namespace avx512 {                          \
  result name(__VA_ARGS__);                   \
  }                                           \
  inline constexpr SimdFunction<result(__VA_ARGS__)> name { baseline::name, avx2::name, avx512::name }
#define ATROUS_SIMD_OF_EIGHT(result, name, ...) \
  namespace baseline {                          \
  result name(__VA_ARGS__);                     \
  }                                             \
  namespace avx2 {                              \
  result name(__VA_ARGS__);                     \
  }                                             \
  inline constexpr SimdFunction<result(__VA_ARGS__)> name { baseline::name, avx2::name, avx2::name }
#else
#define ATROUS_SIMD_RESULT(result, name, ...) \
  namespace baseline {                        \
  result name(__VA_ARGS__);                   \
  }                                           \
  inline constexpr SimdFunction<result(__VA_ARGS__)> name { baseline::name, nullptr, nullptr }
#define ATROUS_SIMD_OF_EIGHT ATROUS_SIMD_RESULT
#endif
