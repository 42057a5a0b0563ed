#pragma once

#include <cstdint>
#include <string>

#include "tests/support/test_files.h"

namespace atrous::tests {

/// A safetensors file of any header and data, whether they fit or not.
inline Bytes safetensors_bytes(std::uint64_t header_length, const std::string& header,
                               std::size_t data_bytes) {
  Bytes bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(std::uint8_t(header_length >> (8 * i)));
  bytes.insert(bytes.end(), header.begin(), header.end());
  for (std::size_t i = 0; i < data_bytes; ++i) bytes.push_back(std::uint8_t(i));
  return bytes;
}

inline Bytes safetensors_bytes(const std::string& header, std::size_t data_bytes) {
  return safetensors_bytes(header.size(), header, data_bytes);
}

}  // namespace atrous::tests
