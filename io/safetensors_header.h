#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "atrous/io/element_type.h"
#include "atrous/io/file.h"

// The header of a safetensors file, read and written.

namespace atrous::io {

inline constexpr std::int64_t kMaxHeaderBytes = std::int64_t(16) << 20;
inline constexpr std::size_t kMaxTensors = 100000, kMaxNameBytes = 1024;
inline constexpr const char* kMetadataKey = "__metadata__";

struct TensorEntry {
  std::string name;
  ElementType type = ElementType::f32;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;  ///< bytes behind the header
};

struct SafetensorsHeader {
  std::vector<TensorEntry> entries;  ///< in the order of their bytes
  std::map<std::string, std::string> metadata;
  std::int64_t data_at = 0;  ///< where the bytes begin in the file
};

/// Reads and checks the header by all rules of safetensors.h. Throws IoError through the file.
SafetensorsHeader read_safetensors_header(const FileReader& file);

/// The header's text for entries in the order of their bytes. Throws nlohmann::json::exception for text that
/// is not UTF-8.
std::string safetensors_header_text(const std::vector<TensorEntry>& entries,
                                    const std::map<std::string, std::string>& metadata);

/// A name from a file as messages show it: in quotes, cut to 80 bytes, with escapes for what is not
/// printable.
std::string printable(std::string_view name);

}  // namespace atrous::io
