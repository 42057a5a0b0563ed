#include "atrous/io/jpeg.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "atrous/core/error.h"

namespace atrous::io {
namespace {

/// An assertion of stb_image that fails on a strange file must not end the program.
[[noreturn]] void stb_assertion_failed() {
  fail<IoError>("read_image", "JPEG: damaged in a way that stb_image does not expect");
}

}  // namespace
}  // namespace atrous::io

// Only the JPEG decoder, private to this file, and without access to files.
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS 65535
#define STBI_ASSERT(x) ((x) ? void(0) : ::atrous::io::stb_assertion_failed())
#include <stb_image.h>

namespace atrous::io {
namespace {

struct JpegHeader {
  std::int64_t width = 0, height = 0;
  int components = 0;
};

/// Walks the segments of a JPEG file (ITU T.81, annex B) from the start-of-image to the end-of-image marker.
class SegmentWalk {
 public:
  SegmentWalk(Span<const std::uint8_t> bytes, const std::string& path, std::string_view op)
      : bytes_(bytes), path_(path), op_(op) {}

  JpegHeader run() {
    at_ = 2;  // behind the start-of-image marker
    for (;;) {
      const int marker = next_marker();
      if (marker == 0xD9) break;                                           // end of image
      if ((marker >= 0xD0 && marker <= 0xD7) || marker == 0x01) continue;  // markers without a segment
      check(marker != 0xD8, "a second image begins inside the first");
      const std::int64_t length = word(at_);
      check(length >= 2, "a segment of length ", length);
      require(at_ + length);
      const bool frame =
          marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
      if (frame) read_frame(length);
      if (marker == 0xDA) read_scan(length);
      at_ += length;
      if (marker == 0xDA) skip_scan_data();
    }
    check(header_.components > 0, "no image in it");
    check(
        std::all_of(scanned_.begin(), scanned_.begin() + header_.components, [](bool seen) { return seen; }),
        "the scans of some colour component are missing");
    return header_;
  }

 private:
  template <class... Pieces>
  void check(bool condition, const Pieces&... pieces) const {
    ATROUS_CHECK(IoError, condition, op_, path_, ": JPEG: ", pieces...);
  }
  void require(std::int64_t end) const {
    check(end <= bytes_.size(), "the file ends early, after ", bytes_.size(),
          " bytes, without an end-of-image marker");
  }
  std::int64_t word(std::int64_t at) const {
    require(at + 2);
    return bytes_[at] << 8 | bytes_[at + 1];
  }
  int next_marker() {
    require(at_ + 2);
    check(bytes_[at_] == 0xFF, "byte ", at_, " should begin a marker");
    while (bytes_[at_] == 0xFF) require(++at_ + 1);  // any number of fill bytes
    return bytes_[at_++];
  }
  void read_frame(std::int64_t length) {
    check(header_.components == 0, "more than one frame");
    check(length >= 8, "a frame header of ", length, " bytes");
    header_ = {word(at_ + 5), word(at_ + 3), bytes_[at_ + 7]};
    check(header_.components == 1 || header_.components == 3 || header_.components == 4, header_.components,
          " colour components; 1, 3 and 4 are read");
    check(length == 8 + 3 * header_.components, "a frame header of ", length, " bytes for ",
          header_.components, " components");
    for (int i = 0; i < header_.components; ++i) ids_[std::size_t(i)] = bytes_[at_ + 8 + 3 * i];
  }
  void read_scan(std::int64_t length) {
    check(header_.components > 0, "a scan before the frame header");
    const int count = length > 2 ? bytes_[at_ + 2] : 0;
    check(count >= 1 && count <= 4 && length == 6 + 2 * count, "a scan header of ", length, " bytes");
    for (int i = 0; i < count; ++i) {
      const auto end = ids_.begin() + header_.components;
      const auto id = std::find(ids_.begin(), end, bytes_[at_ + 3 + 2 * i]);
      check(id != end, "a scan of a component that the frame does not have");
      scanned_[std::size_t(id - ids_.begin())] = true;
    }
  }
  /// Coded bits end at the first marker that is neither a stuffed zero nor a restart.
  void skip_scan_data() {
    for (;; ++at_) {
      require(at_ + 2);
      if (bytes_[at_] != 0xFF) continue;
      const int next = bytes_[at_ + 1];
      if (next != 0x00 && next != 0xFF && (next < 0xD0 || next > 0xD7)) return;
    }
  }

  Span<const std::uint8_t> bytes_;
  const std::string& path_;
  std::string_view op_;
  std::int64_t at_ = 0;
  JpegHeader header_;
  std::array<int, 4> ids_{};
  std::array<bool, 4> scanned_{};
};

}  // namespace

bool is_jpeg(Span<const std::uint8_t> bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF;
}

RawImage decode_jpeg(Span<const std::uint8_t> bytes, const std::string& path, std::string_view op) {
  const JpegHeader header = SegmentWalk(bytes, path, op).run();
  check_image_size(header.width, header.height, path, op);
  // A block of 8x8 takes at least a bit, and a pixel at least an eighth of the blocks of its largest unit
  // (32x32 pixels of 8 blocks): a byte holds at most 1024 pixels.
  ATROUS_CHECK(IoError, header.width * header.height / 1024 <= bytes.size(), op, path, ": its ", bytes.size(),
               " bytes cannot hold the ", header.width, "x", header.height, " pixels that its header claims");
  ATROUS_CHECK(IoError, bytes.size() < std::int64_t(1) << 31, op, path, ": a JPEG file of ", bytes.size(),
               " bytes; less than 2^31 are read");
  int width = 0, height = 0, components = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(bytes.data(), int(bytes.size()), &width, &height, &components, 3),
      stbi_image_free);
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
