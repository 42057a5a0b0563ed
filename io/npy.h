#pragma once

#include <string>

#include "atrous/core/tensor.h"

// NumPy's file of one array (.npy), for numbers from and to Python. Source: numpy.org, "NEP 1: a simple file
// format for NumPy arrays". The header is a Python dictionary in text; it is read by a fixed grammar, nothing
// is evaluated.

namespace atrous::io {

/// Reads format versions 1 to 3 with little-endian f4, f8, u1, i4 or i8 elements (f32, f64, u8, i32, i64).
/// Fortran order is turned into row-major. Throws IoError with the file's name for other element types (by
/// name: big-endian, objects, structures), a header of more than 64 KiB, more than 8 axes, and a file that is
/// shorter or longer than its shape says.
Tensor read_npy(const std::string& path);

/// Writes what numpy.save() would, byte for byte (version 1). Whole or not at all. Throws DtypeError for
/// bf16, which NumPy does not have, and IoError.
void write_npy(const std::string& path, const Tensor& tensor);

}  // namespace atrous::io
