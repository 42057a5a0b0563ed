#include "atrous/io/png.h"

#include <png.h>

#include <algorithm>
#include <bit>
#include <csetjmp>
#include <cstdlib>
#include <cstring>

#include "atrous/core/error.h"

namespace atrous::io {
namespace {

// libpng reports errors by a jump (longjmp), which skips destructors. So each stretch of libpng calls is a
// lambda run by guarded(), whose own variables are plain numbers and pointers; whatever owns memory lives
// outside of it.
struct Session {
  png_structp png = nullptr;
  png_infop info = nullptr;
  bool writes = false;
  char reason[160] = "damaged";
  Span<const std::uint8_t> input;
  std::int64_t position = 0;
  std::vector<std::uint8_t>* output = nullptr;

  ~Session() {
    if (writes)
      png_destroy_write_struct(&png, &info);
    else
      png_destroy_read_struct(&png, &info, nullptr);
  }
};

[[noreturn]] void on_error(png_structp png, png_const_charp reason) {
  auto& session = *static_cast<Session*>(png_get_error_ptr(png));
  std::strncpy(session.reason, reason ? reason : "damaged", sizeof session.reason - 1);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep to, png_size_t count) {
  auto& session = *static_cast<Session*>(png_get_io_ptr(png));
  if (std::int64_t(count) > session.input.size() - session.position) png_error(png, "the file ends early");
  std::memcpy(to, session.input.data() + session.position, count);
  session.position += std::int64_t(count);
}

void on_write(png_structp png, png_bytep from, png_size_t count) {
  auto& session = *static_cast<Session*>(png_get_io_ptr(png));
  bool stored = true;
  try {
    session.output->insert(session.output->end(), from, from + count);
  } catch (...) {  // must not travel through libpng's C frames
    stored = false;
  }
  if (!stored) png_error(png, "no memory");
}

void on_flush(png_structp) {}

/// Runs `calls`; false if libpng reported an error in them.
template <class Calls>
[[nodiscard]] bool guarded(Session& session, const Calls& calls) {
  if (setjmp(png_jmpbuf(session.png))) return false;
  calls();
  return true;
}

// Chunks that say nothing about samples; unread, what they hold cannot do harm.
constexpr png_byte kIgnoredChunks[] =
    "bKGD\0cHRM\0cICP\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0sPLT\0sRGB\0sTER\0tEXt\0tI"
    "ME\0tRNS\0zTXt";

int channels_of(int color_type) {
  switch (color_type) {
    case PNG_COLOR_TYPE_GRAY_ALPHA:
      return 2;
    case PNG_COLOR_TYPE_RGB:
      return 3;
    case PNG_COLOR_TYPE_RGB_ALPHA:
      return 4;
    default:
      return 1;
  }
}

}  // namespace

void check_image_size(std::int64_t width, std::int64_t height, const std::string& path, std::string_view op) {
  ATROUS_CHECK(IoError, width >= 1 && height >= 1, op, path, ": its header says ", width, "x", height,
               " pixels (width x height), an empty image");
  ATROUS_CHECK(IoError,
               width <= kMaxImageSide && height <= kMaxImageSide && width * height <= kMaxImagePixels, op,
               path, ": its header says ", width, "x", height, " pixels (width x height); at most ",
               kMaxImageSide, " on a side and ", kMaxImagePixels, " in all are read");
}

bool is_png(Span<const std::uint8_t> bytes) {
  return bytes.size() >= 8 && png_sig_cmp(bytes.data(), 0, 8) == 0;
}

RawImage decode_png(Span<const std::uint8_t> bytes, const std::string& path, std::string_view op,
                    bool to_8_bits) {
  Session session;
  session.input = bytes;
  session.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &session, on_error, on_warning);
  if (session.png) session.info = png_create_info_struct(session.png);
  ATROUS_CHECK(IoError, session.info != nullptr, op, path, ": libpng cannot start");
  const png_structp png = session.png;
  const png_infop info = session.info;
  const auto give_up = [&] { fail<IoError>(op, path, ": PNG: ", session.reason); };

  // The size is looked at before libpng sees it, so that the message is ours: signature, length and name of
  // the first chunk, then width and height.
  ATROUS_CHECK(IoError, bytes.size() >= 33, op, path, ": PNG: the file ends early");
  const auto word = [&](std::int64_t at) {
    return std::int64_t(bytes[at]) << 24 | std::int64_t(bytes[at + 1]) << 16 |
           std::int64_t(bytes[at + 2]) << 8 | std::int64_t(bytes[at + 3]);
  };
  ATROUS_CHECK(IoError, std::memcmp(bytes.data() + 12, "IHDR", 4) == 0, op, path,
               ": PNG: the header is missing");
  check_image_size(word(16), word(20), path, op);

  if (!guarded(session, [&] {
        png_set_user_limits(png, png_uint_32(kMaxImageSide), png_uint_32(kMaxImageSide));
        png_set_chunk_cache_max(png, 64);
        png_set_chunk_malloc_max(png, 1 << 20);
        png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
        png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, kIgnoredChunks,
                                    int(sizeof kIgnoredChunks / 5));
        png_set_read_fn(png, &session, on_read);
        png_read_info(png, info);
      }))
    give_up();

  RawImage image;
  image.width = std::int64_t(png_get_image_width(png, info));
  image.height = std::int64_t(png_get_image_height(png, info));
  image.bits = png_get_bit_depth(png, info);
  image.indexed = png_get_color_type(png, info) == PNG_COLOR_TYPE_PALETTE;
  image.channels = channels_of(png_get_color_type(png, info));
  image.sample_bytes = image.bits == 16 && !to_8_bits ? 2 : 1;
  // Deflate turns a byte into at most 1032; a file that is shorter than that cannot hold its image.
  const std::int64_t packed_row = (image.width * image.channels * image.bits + 7) / 8;
  ATROUS_CHECK(IoError, packed_row * image.height / 1032 <= bytes.size(), op, path, ": its ", bytes.size(),
               " bytes cannot hold the ", image.width, "x", image.height, " pixels that its header claims");

  png_colorp palette = nullptr;
  int colors = 0;
  std::size_t row_bytes = 0;
  if (!guarded(session, [&] {
        if (image.indexed) png_get_PLTE(png, info, &palette, &colors);
        png_set_packing(png);
        if (image.bits == 16 && to_8_bits) png_set_scale_16(png);
        if (image.sample_bytes == 2 && std::endian::native == std::endian::little) png_set_swap(png);
        png_set_interlace_handling(png);
        png_read_update_info(png, info);
        row_bytes = png_get_rowbytes(png, info);
      }))
    give_up();
  for (int i = 0; i < colors; ++i)
    image.palette.push_back({palette[i].red, palette[i].green, palette[i].blue});
  ATROUS_CHECK(IoError, std::int64_t(row_bytes) == image.width * image.channels * image.sample_bytes, op,
               path, ": PNG: a row has ", row_bytes, " bytes, not ",
               image.width * image.channels * image.sample_bytes);

  image.samples.resize(row_bytes * std::size_t(image.height));
  std::vector<png_bytep> rows(static_cast<std::size_t>(image.height));
  for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = image.samples.data() + y * row_bytes;
  const png_bytepp first_row = rows.data();
  if (!guarded(session, [&] {
        png_read_image(png, first_row);
        png_read_end(png, nullptr);
      }))
    give_up();

  if (image.indexed) {
    const auto bad = std::find_if(image.samples.begin(), image.samples.end(),
                                  [&](std::uint8_t index) { return index >= image.palette.size(); });
    const std::int64_t at = bad - image.samples.begin();
    ATROUS_CHECK(IoError, bad == image.samples.end(), op, path, ": pixel (row ", at / image.width,
                 ", column ", at % image.width, ") has index ", int(*bad), ", the palette ",
                 image.palette.size(), " colours");
  }
  return image;
}

std::vector<std::uint8_t> encode_png(std::int64_t width, std::int64_t height,
                                     Span<const std::uint8_t> samples, const std::vector<Rgb>& palette,
                                     const std::string& path, std::string_view op) {
  check_image_size(width, height, path, op);
  std::vector<std::uint8_t> bytes;
  Session session;
  session.writes = true;
  session.output = &bytes;
  session.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &session, on_error, on_warning);
  if (session.png) session.info = png_create_info_struct(session.png);
  ATROUS_CHECK(IoError, session.info != nullptr, op, path, ": libpng cannot start");

  std::vector<png_color> colors(palette.size());
  for (std::size_t i = 0; i < colors.size(); ++i) colors[i] = {palette[i].r, palette[i].g, palette[i].b};
  const std::int64_t row_bytes = width * (palette.empty() ? 3 : 1);
  const png_structp png = session.png;
  const png_infop info = session.info;
  const png_colorp first_color = colors.data();
  const int color_count = int(colors.size());
  if (!guarded(session, [&] {
        png_set_write_fn(png, &session, on_write, on_flush);
        png_set_IHDR(png, info, png_uint_32(width), png_uint_32(height), 8,
                     color_count ? PNG_COLOR_TYPE_PALETTE : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                     PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
        if (color_count) png_set_PLTE(png, info, first_color, color_count);
        png_write_info(png, info);
        for (std::int64_t y = 0; y < height; ++y) png_write_row(png, samples.data() + y * row_bytes);
        png_write_end(png, info);
      }))
    fail<IoError>(op, path, ": PNG: ", session.reason);
  return bytes;
}

}  // namespace atrous::io
