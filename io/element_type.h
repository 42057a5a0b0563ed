#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "atrous/core/dtype.h"
#include "atrous/core/tensor.h"
#include "atrous/io/file.h"

// The element types of weight files, and numbers out of a file's bytes. All formats are little-endian.

namespace atrous::io {

/// As stored. f16 (IEEE 754 binary16) is read as f32, exactly; the others are dtypes of tensors.
enum class ElementType { f32, f64, f16, bf16, u8, i32, i64 };

std::int64_t element_bytes(ElementType type);
/// Of the tensor that it is read into.
Dtype dtype_of_element(ElementType type);

/// The value of a binary16. Every one is a float as well.
float half_to_float(std::uint16_t bits);

/// Bytes of an array; nothing if a size is negative or the product (sizes of 0 left out, as in Shape) does
/// not fit into 63 bits.
std::optional<std::int64_t> array_bytes(const std::vector<std::int64_t>& shape, std::int64_t element);

/// A tensor from consecutive elements at `offset`.
Tensor read_elements(const FileReader& file, std::int64_t offset, ElementType type, const Shape& shape);
/// The same from memory, which holds at least the elements.
Tensor read_elements(Span<const std::uint8_t> bytes, ElementType type, const Shape& shape);

}  // namespace atrous::io
