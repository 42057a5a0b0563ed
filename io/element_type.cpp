#include "atrous/io/element_type.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace atrous::io {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian and are read as they are");

// `read(offset, to, count)` gives bytes of the array.
template <class Read>
Tensor read_from(const Read& read, ElementType type, const Shape& shape) {
  Tensor tensor = Tensor::empty(shape, dtype_of_element(type));
  if (type != ElementType::f16) {
    read(0, tensor.data(), tensor.bytes());
    return tensor;
  }
  const Span<float> to = tensor.span<float>();
  std::vector<std::uint16_t> halves(static_cast<std::size_t>(std::min<std::int64_t>(to.size(), 1 << 16)));
  for (std::int64_t i = 0; i < to.size(); i += std::int64_t(halves.size())) {
    const std::int64_t count = std::min(std::int64_t(halves.size()), to.size() - i);
    read(2 * i, halves.data(), 2 * count);
    std::transform(halves.begin(), halves.begin() + count, to.begin() + i, half_to_float);
  }
  return tensor;
}

}  // namespace

std::int64_t element_bytes(ElementType type) {
  return type == ElementType::f16 ? 2 : dtype_size(dtype_of_element(type));
}

Dtype dtype_of_element(ElementType type) {
  switch (type) {
    case ElementType::f32:
    case ElementType::f16:
      return Dtype::f32;
    case ElementType::f64:
      return Dtype::f64;
    case ElementType::bf16:
      return Dtype::bf16;
    case ElementType::u8:
      return Dtype::u8;
    case ElementType::i32:
      return Dtype::i32;
    case ElementType::i64:
      return Dtype::i64;
  }
  fail<DtypeError>("element_type", "unknown element type ", int(type));
}

float half_to_float(std::uint16_t bits) {  // a sign, 5 bits of exponent, 10 of mantissa
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const std::uint32_t sign = std::uint32_t(bits & 0x8000) << 16;
  if (exponent == 0) return (sign ? -1.f : 1.f) * std::ldexp(float(mantissa), -24);  // zero and subnormal
  const std::uint32_t wide = exponent == 31 ? 255 : std::uint32_t(exponent - 15 + 127);
  return std::bit_cast<float>(sign | wide << 23 | std::uint32_t(mantissa) << 13);
}

std::optional<std::int64_t> array_bytes(const std::vector<std::int64_t>& shape, std::int64_t element) {
  std::int64_t bytes = element;
  bool empty = false;
  for (const std::int64_t size : shape) {
    if (size < 0 || (size > 0 && __builtin_mul_overflow(bytes, size, &bytes))) return std::nullopt;
    empty |= size == 0;
  }
  return empty ? 0 : bytes;
}

Tensor read_elements(const FileReader& file, std::int64_t offset, ElementType type, const Shape& shape) {
  return read_from([&](std::int64_t at, void* to, std::int64_t count) { file.read(offset + at, to, count); },
                   type, shape);
}

Tensor read_elements(Span<const std::uint8_t> bytes, ElementType type, const Shape& shape) {
  return read_from(
      [&](std::int64_t at, void* to, std::int64_t count) {
        if (count > 0) std::memcpy(to, bytes.part(at, count).data(), std::size_t(count));
      },
      type, shape);
}

}  // namespace atrous::io
