#include "atrous/io/image.h"

#include <algorithm>

#include "atrous/core/error.h"
#include "atrous/io/bmp.h"
#include "atrous/io/file.h"
#include "atrous/io/jpeg.h"
#include "atrous/io/png.h"

namespace atrous::io {
namespace {

RawImage decode(Span<const std::uint8_t> bytes, const std::string& path, std::string_view op) {
  ATROUS_CHECK(IoError, !bytes.empty(), op, path, ": the file is empty");
  if (is_png(bytes)) return decode_png(bytes, path, op, true);
  if (is_jpeg(bytes)) return decode_jpeg(bytes, path, op);
  if (is_bmp(bytes)) return decode_bmp(bytes, path, op);
  fail<IoError>(op, path, ": is not a JPEG, PNG or BMP file");
}

}  // namespace

Tensor read_image(const std::string& path) {
  const std::string_view op = "read_image";
  const RawImage raw = decode(read_bytes(path, op), path, op);
  Tensor image = Tensor::empty({1, raw.height, raw.width, 3}, Dtype::u8);
  std::uint8_t* out = image.span<std::uint8_t>().data();
  const std::uint8_t* in = raw.samples.data();
  for (std::int64_t i = 0; i < raw.width * raw.height; ++i, in += raw.channels, out += 3) {
    if (raw.indexed) {
      const Rgb color = raw.palette[*in];
      out[0] = color.r;
      out[1] = color.g;
      out[2] = color.b;
    } else if (raw.channels >= 3) {
      std::copy(in, in + 3, out);
    } else {
      // Grey of 1, 2 and 4 bits spans the whole range: 255 / (2^bits - 1) is a whole number.
      const int scale = raw.bits < 8 ? 255 / ((1 << raw.bits) - 1) : 1;
      std::fill(out, out + 3, std::uint8_t(*in * scale));
    }
  }
  return image;
}

void write_png(const std::string& path, const Tensor& image) {
  const std::string_view op = "write_png";
  const bool single = image.defined() && ((image.rank() == 3) || (image.rank() == 4 && image.dim(0) == 1));
  ATROUS_CHECK(ShapeError, single && image.dim(-1) == 3, op, path,
               ": an image is [1, H, W, 3] or [H, W, 3], not ", image.shape());
  write_bytes(path, encode_png(image.dim(-2), image.dim(-3), image.span<std::uint8_t>(), {}, path, op), op);
}

}  // namespace atrous::io
