#include "atrous/io/jpeg.h"

#include <cstdlib>
#include <memory>

#include "atrous/core/error.h"
#include "atrous/io/jpeg_segments.h"

namespace atrous::io {
namespace {

/// An assertion of stb_image that fails on a strange file must not end the program.
struct StbAssertion {};
[[noreturn]] void stb_assertion_failed() { throw StbAssertion(); }

}  // namespace
}  // namespace atrous::io

// Only the JPEG decoder, private to this file, and without access to files. Its memory begins as zeros: where
// a damaged file leaves something out, the decoder reads zeros, not what the program had there before.
#define STBI_MALLOC(bytes) std::calloc(1, bytes)
#define STBI_REALLOC(block, bytes) std::realloc(block, bytes)
#define STBI_FREE(block) std::free(block)
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS 65535
#define STBI_ASSERT(x) ((x) ? void(0) : ::atrous::io::stb_assertion_failed())
#include <stb_image.h>

namespace atrous::io {

RawImage decode_jpeg(Span<const std::uint8_t> bytes, const std::string& path, std::string_view op) {
  const JpegHeader header = read_jpeg_segments(bytes, path, op);
  check_image_size(header.width, header.height, path, op);
  // A block of 8x8 takes at least a bit, and a pixel at least an eighth of the blocks of its largest unit
  // (32x32 pixels of 8 blocks): a byte holds at most 1024 pixels.
  ATROUS_CHECK(IoError, header.width * header.height / 1024 <= bytes.size(), op, path, ": its ", bytes.size(),
               " bytes cannot hold the ", header.width, "x", header.height, " pixels that its header claims");
  ATROUS_CHECK(IoError, bytes.size() < std::int64_t(1) << 31, op, path, ": a JPEG file of ", bytes.size(),
               " bytes; less than 2^31 are read");
  int width = 0, height = 0, components = 0;
  std::unique_ptr<stbi_uc, void (*)(void*)> pixels(nullptr, stbi_image_free);
  try {
    pixels.reset(stbi_load_from_memory(bytes.data(), int(bytes.size()), &width, &height, &components, 3));
  } catch (const StbAssertion&) {
    fail<IoError>(op, path, ": JPEG: damaged in a way that the decoder does not expect");
  }
  ATROUS_CHECK(IoError, pixels != nullptr, op, path, ": JPEG: ", stbi_failure_reason());
  ATROUS_CHECK(IoError, width == header.width && height == header.height, op, path, ": JPEG: decodes to ",
               width, "x", height, " pixels, its header says ", header.width, "x", header.height);

  RawImage image;
  image.width = width;
  image.height = height;
  image.channels = 3;
  image.samples.assign(pixels.get(), pixels.get() + header.width * header.height * 3);
  return image;
}

}  // namespace atrous::io
