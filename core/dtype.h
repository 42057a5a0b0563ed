#pragma once

#include <cstdint>
#include <ostream>
#include <utility>

#include "atrous/core/error.h"
#include "atrous/core/host_device.h"

namespace atrous {

/// Brain floating point: the upper half of a float (8 bits of exponent, 7 of mantissa). A storage type:
/// arithmetic is done in float. Rounds to nearest, ties to even; NaN stays NaN.
struct bf16 {
  std::uint16_t bits = 0;

  bf16() = default;
  ATROUS_HD explicit bf16(float value) {
    const auto word = __builtin_bit_cast(std::uint32_t, value);  // std::bit_cast is not for device code
    const bool nan = (word & 0x7fffffffu) > 0x7f800000u;
    bits = std::uint16_t(nan ? (word >> 16) | 0x40u : (word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
  }
  ATROUS_HD explicit operator float() const { return __builtin_bit_cast(float, std::uint32_t(bits) << 16); }
};

/// The type in which sums over elements of type T are kept.
template <class T>
struct AccumulatorOf {
  using type = T;
};
template <>
struct AccumulatorOf<bf16> {
  using type = float;
};
template <class T>
using Accumulator = typename AccumulatorOf<T>::type;

enum class Dtype { f32, f64, bf16, u8, i32, i64 };

/// "f32", "f64", "bf16", "u8", "i32", "i64"
const char* dtype_name(Dtype dtype);
/// Bytes of one element.
std::int64_t dtype_size(Dtype dtype);
/// The type of sums over elements of `dtype`: f32 for bf16, itself for all others.
constexpr Dtype accumulator_dtype(Dtype dtype) { return dtype == Dtype::bf16 ? Dtype::f32 : dtype; }
inline bool is_floating(Dtype dtype) {
  return dtype == Dtype::f32 || dtype == Dtype::f64 || dtype == Dtype::bf16;
}
std::ostream& operator<<(std::ostream& out, Dtype dtype);

template <class T>
constexpr Dtype dtype_of() = delete;
template <>
constexpr Dtype dtype_of<float>() {
  return Dtype::f32;
}
template <>
constexpr Dtype dtype_of<double>() {
  return Dtype::f64;
}
template <>
constexpr Dtype dtype_of<bf16>() {
  return Dtype::bf16;
}
template <>
constexpr Dtype dtype_of<std::uint8_t>() {
  return Dtype::u8;
}
template <>
constexpr Dtype dtype_of<std::int32_t>() {
  return Dtype::i32;
}
template <>
constexpr Dtype dtype_of<std::int64_t>() {
  return Dtype::i64;
}

/// Calls `f.operator()<T>()` with the C++ type of `dtype`.
template <class F>
decltype(auto) visit_dtype(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::f32:
      return std::forward<F>(f).template operator()<float>();
    case Dtype::f64:
      return std::forward<F>(f).template operator()<double>();
    case Dtype::bf16:
      return std::forward<F>(f).template operator()<bf16>();
    case Dtype::u8:
      return std::forward<F>(f).template operator()<std::uint8_t>();
    case Dtype::i32:
      return std::forward<F>(f).template operator()<std::int32_t>();
    case Dtype::i64:
      return std::forward<F>(f).template operator()<std::int64_t>();
  }
  fail<DtypeError>("dtype", "unknown element type ", int(dtype));
}

/// The same for the types that arithmetic is compiled for: f32, f64 and bf16. Throws DtypeError for the
/// others.
template <class F>
decltype(auto) visit_float(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::f32:
      return std::forward<F>(f).template operator()<float>();
    case Dtype::f64:
      return std::forward<F>(f).template operator()<double>();
    case Dtype::bf16:
      return std::forward<F>(f).template operator()<bf16>();
    default:
      fail<DtypeError>("dtype", "arithmetic wants f32, f64 or bf16, not ", dtype_name(dtype));
  }
}

/// The same for the types that labels may have: u8 and i32. Throws DtypeError for the others.
template <class F>
decltype(auto) visit_label(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::u8:
      return std::forward<F>(f).template operator()<std::uint8_t>();
    case Dtype::i32:
      return std::forward<F>(f).template operator()<std::int32_t>();
    default:
      fail<DtypeError>("labels", "labels are u8 or i32, not ", dtype_name(dtype));
  }
}

}  // namespace atrous
