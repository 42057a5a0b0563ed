#include "atrous/io/bmp.h"

#include "atrous/core/error.h"

namespace atrous::io {
namespace {

constexpr std::int64_t kUncompressed = 0, kBitFields = 3;

}  // namespace

bool is_bmp(Span<const std::uint8_t> bytes) {
  return bytes.size() >= 2 && bytes[0] == 'B' && bytes[1] == 'M';
}

RawImage decode_bmp(Span<const std::uint8_t> bytes, const std::string& path, std::string_view op) {
  // Little-endian numbers; each read is checked against the end of the file.
  const auto number = [&](std::int64_t at, int count) {
    ATROUS_CHECK(IoError, at <= bytes.size() - count, op, path, ": BMP: the file ends early, after ",
                 bytes.size(), " bytes");
    std::uint32_t value = 0;
    for (int i = 0; i < count; ++i) value |= std::uint32_t(bytes[at + i]) << (8 * i);
    return std::int64_t(value);
  };
  const std::int64_t pixels_at = number(10, 4), header_size = number(14, 4);
  ATROUS_CHECK(IoError, header_size >= 40 && header_size <= 124, op, path, ": BMP: a header of ", header_size,
               " bytes is not read (Windows headers of 40 to 124 bytes are)");
  const std::int64_t signed_height = std::int32_t(number(22, 4));  // negative: the first row is the top one
  const std::int64_t bits = number(28, 2), compression = number(30, 4);

  RawImage image;
  image.width = std::int64_t(std::int32_t(number(18, 4)));
  image.height = signed_height < 0 ? -signed_height : signed_height;
  check_image_size(image.width, image.height, path, op);
  ATROUS_CHECK(IoError, bits == 1 || bits == 4 || bits == 8 || bits == 24 || bits == 32, op, path,
               ": BMP: ", bits, " bits a pixel are not read (1, 4, 8, 24 and 32 are)");
  // 32-bit files often state the usual order of blue, green, red as "bit fields".
  const bool usual_fields = compression == kBitFields && bits == 32 && number(54, 4) == 0x00ff0000 &&
                            number(58, 4) == 0x0000ff00 && number(62, 4) == 0x000000ff;
  ATROUS_CHECK(IoError, compression == kUncompressed || usual_fields, op, path, ": BMP: compression ",
               compression, " with ", bits, " bits a pixel is not read");

  image.indexed = bits <= 8;
  image.bits = image.indexed ? int(bits) : 8;
  image.channels = image.indexed ? 1 : 3;
  if (image.indexed) {
    const std::int64_t stated = number(46, 4), colors = stated == 0 ? std::int64_t(1) << bits : stated;
    ATROUS_CHECK(IoError, colors <= std::int64_t(1) << bits, op, path, ": BMP: a palette of ", colors,
                 " colours for ", bits, " bits a pixel");
    for (std::int64_t i = 0; i < colors; ++i) {
      const std::int64_t bgr = number(14 + header_size + 4 * i, 4);
      image.palette.push_back({std::uint8_t(bgr >> 16), std::uint8_t(bgr >> 8), std::uint8_t(bgr)});
    }
  }

  const std::int64_t stride = (image.width * bits + 31) / 32 * 4;  // rows end on multiples of four bytes
  ATROUS_CHECK(IoError, pixels_at >= 14 + header_size && pixels_at + stride * image.height <= bytes.size(),
               op, path, ": BMP: ", image.width, "x", image.height, " pixels from byte ", pixels_at,
               " on need ", pixels_at + stride * image.height, " bytes, the file has ", bytes.size());
  image.samples.resize(std::size_t(image.width * image.height * image.channels));
  std::uint8_t* out = image.samples.data();
  for (std::int64_t y = 0; y < image.height; ++y) {
    const std::int64_t stored = signed_height < 0 ? y : image.height - 1 - y;
    const std::uint8_t* row = bytes.data() + pixels_at + stored * stride;
    for (std::int64_t x = 0; x < image.width; ++x) {
      if (!image.indexed) {
        const std::uint8_t* bgr = row + x * (bits / 8);
        *out++ = bgr[2];
        *out++ = bgr[1];
        *out++ = bgr[0];
        continue;
      }
      // The leftmost pixel lies in the highest bits of its byte.
      const std::int64_t first_bit = x * bits;
      const int index = (row[first_bit / 8] >> (8 - bits - first_bit % 8)) & ((1 << bits) - 1);
      ATROUS_CHECK(IoError, std::size_t(index) < image.palette.size(), op, path, ": pixel (row ", y,
                   ", column ", x, ") has index ", index, ", the palette ", image.palette.size(), " colours");
      *out++ = std::uint8_t(index);
    }
  }
  return image;
}

}  // namespace atrous::io
