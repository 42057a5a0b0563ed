#include "tests/io/crafted_png.h"

#include <algorithm>

namespace atrous::tests {
namespace {

Bytes big_endian(std::uint32_t value) {
  return {std::uint8_t(value >> 24), std::uint8_t(value >> 16), std::uint8_t(value >> 8),
          std::uint8_t(value)};
}

std::uint32_t crc32(const Bytes& bytes) {
  std::uint32_t crc = ~0u;
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

struct Pass {
  std::uint32_t y, x, step_y, step_x;
};
constexpr Pass kAdam7[] = {{0, 0, 8, 8}, {0, 4, 8, 8}, {4, 0, 8, 4}, {0, 2, 4, 4},
                           {2, 0, 4, 2}, {0, 1, 2, 2}, {1, 0, 2, 1}};

}  // namespace

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Bytes png_signature() { return {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}; }

Bytes png_chunk(const std::string& name, const Bytes& content) {
  const Bytes named = Bytes(name.begin(), name.end()) + content;
  return big_endian(std::uint32_t(content.size())) + named + big_endian(crc32(named));
}

Bytes zlib_stored(const Bytes& content) {
  Bytes out = {0x78, 0x01};
  std::size_t at = 0;
  do {
    const std::size_t count = std::min<std::size_t>(content.size() - at, 65535);
    const bool last = at + count == content.size();
    const std::uint8_t low = std::uint8_t(count), high = std::uint8_t(count >> 8);
    out = std::move(out) + Bytes{std::uint8_t(last), low, high, std::uint8_t(~low), std::uint8_t(~high)};
    out.insert(out.end(), content.begin() + std::ptrdiff_t(at), content.begin() + std::ptrdiff_t(at + count));
    at += count;
  } while (at < content.size());
  std::uint32_t a = 1, b = 0;
  for (const std::uint8_t byte : content) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return std::move(out) + big_endian(b << 16 | a);
}

Bytes CraftedPng::header() const {
  return big_endian(width) + big_endian(height) +
         Bytes{std::uint8_t(bits), std::uint8_t(color_type), 0, 0, std::uint8_t(interlaced)};
}

Bytes CraftedPng::rows() const {
  const std::uint32_t channels = color_type == 2 ? 3 : color_type == 4 ? 2 : color_type == 6 ? 4 : 1;
  std::vector<Pass> passes(std::begin(kAdam7), std::end(kAdam7));
  if (!interlaced) passes = {{0, 0, 1, 1}};
  Bytes out;
  for (const Pass& pass : passes) {
    if (pass.x >= width) continue;
    for (std::uint32_t y = pass.y; y < height; y += pass.step_y) {
      out.push_back(0);
      unsigned pending = 0;
      int filled = 0;
      for (std::uint32_t x = pass.x; x < width; x += pass.step_x)
        for (std::uint32_t c = 0; c < channels; ++c) {
          const std::uint16_t sample = samples[(std::size_t(y) * width + x) * channels + c];
          if (bits == 16) {
            out.push_back(std::uint8_t(sample >> 8));
            out.push_back(std::uint8_t(sample));
            continue;
          }
          pending = pending << bits | sample;
          filled += bits;
          if (filled == 8) {
            out.push_back(std::uint8_t(pending));
            pending = 0;
            filled = 0;
          }
        }
      if (filled) out.push_back(std::uint8_t(pending << (8 - filled)));
    }
  }
  return out;
}

Bytes CraftedPng::encode() const {
  Bytes out = png_signature() + png_chunk("IHDR", header());
  if (!palette.empty()) out = std::move(out) + png_chunk("PLTE", palette);
  return std::move(out) + png_chunk("IDAT", zlib_stored(rows())) + png_chunk("IEND", {});
}

}  // namespace atrous::tests
