#pragma once

#include <map>
#include <string>

#include "atrous/core/tensor.h"

// The safetensors format: named tensors and text, nothing that could be run. A file is the length of the
// header (8 bytes, little-endian), the header (JSON: for each tensor its dtype, shape and the range of its
// bytes), then the bytes of all tensors one behind the other. Source: github.com/huggingface/safetensors,
// "Format".
//
// A file is not trusted. The header has at most 16 MiB, names at most 1 KiB, shapes at most 8 axes, a file at
// most 100,000 tensors; names occur once; a range is exactly as long as its shape and dtype say; the ranges
// touch each other and end where the file ends. All this is checked before the first tensor is allocated.

namespace atrous::io {

struct SafeTensors {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;  ///< the header's "__metadata__"
};

/// Reads F32, F64, BF16, U8, I32, I64, and F16 converted to f32 (exactly). Throws IoError, with the file's
/// name and the reason, for other dtypes and for a file that breaks one of the rules above; one that is too
/// short is told with both sizes.
SafeTensors read_safetensors(const std::string& path);

/// Writes a file whole or not at all. Equal content gives equal bytes: wider elements come first (so that
/// each is aligned), by name among equals; the header is padded with spaces to a multiple of 8. Throws
/// IoError for what cannot be written or would not be read back (a name that is too long, not UTF-8, or
/// "__metadata__").
void write_safetensors(const std::string& path, const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace atrous::io
