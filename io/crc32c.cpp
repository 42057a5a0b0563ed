#include "atrous/io/crc32c.h"

#include <array>
#include <cstring>

namespace atrous::io {
namespace {

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

/// tables[k][b]: what byte b does to the sum k bytes later.
constexpr Tables make_tables(std::uint32_t polynomial) {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k)
    for (std::size_t byte = 0; byte < 256; ++byte)
      tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 255];
  return tables;
}

constexpr Tables kCastagnoli = make_tables(0x82F63B78u), kZip = make_tables(0xEDB88320u);

std::uint32_t sum(const Tables& tables, Span<const std::uint8_t> bytes, std::uint32_t crc) {
  const std::uint8_t* at = bytes.begin();
  for (; bytes.end() - at >= 8; at += 8) {  // eight bytes a step ("slicing by 8"), about a GB/s
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    word ^= crc;
    crc = 0;
    for (std::size_t k = 0; k < 8; ++k) crc ^= tables[7 - k][word >> (8 * k) & 255];
  }
  for (; at != bytes.end(); ++at) crc = crc >> 8 ^ tables[0][(crc ^ *at) & 255];
  return crc;
}

}  // namespace

std::uint32_t crc32c(Span<const std::uint8_t> bytes) { return ~sum(kCastagnoli, bytes, ~0u); }

std::uint32_t crc32(Span<const std::uint8_t> bytes, std::uint32_t before) {
  return ~sum(kZip, bytes, ~before);
}

}  // namespace atrous::io
