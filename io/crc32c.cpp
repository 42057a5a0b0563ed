#include "atrous/io/crc32c.h"

#include <array>
#include <cstring>

namespace atrous::io {
namespace {

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

/// tables[k][b]: what byte b does to the sum k bytes later.
constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k)
    for (std::size_t byte = 0; byte < 256; ++byte)
      tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 255];
  return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

std::uint32_t crc32c(Span<const std::uint8_t> bytes) {
  std::uint32_t crc = ~0u;
  const std::uint8_t* at = bytes.begin();
  for (; bytes.end() - at >= 8; at += 8) {  // eight bytes a step ("slicing by 8"), about a GB/s
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    word ^= crc;
    crc = 0;
    for (std::size_t k = 0; k < 8; ++k) crc ^= kTables[7 - k][word >> (8 * k) & 255];
  }
  for (; at != bytes.end(); ++at) crc = crc >> 8 ^ kTables[0][(crc ^ *at) & 255];
  return ~crc;
}

}  // namespace atrous::io
