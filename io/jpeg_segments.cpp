#include "atrous/io/jpeg_segments.h"

#include <algorithm>
#include <array>

#include "atrous/core/error.h"

namespace atrous::io {
namespace {

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
      if (marker == 0xC4)
        read_code_tables(length);
      else if (marker == 0xDB)
        read_quantisation(length);
      else if (marker >= 0xC0 && marker <= 0xCF && marker != 0xC8 && marker != 0xCC)
        read_frame(length, marker);
      else if (marker == 0xDA)
        read_scan(length);
      at_ += length;
      if (marker == 0xDA) skip_scan_data();
    }
    check(header_.components > 0, "no image in it");
    for (int i = 0; i < header_.components; ++i)
      check(components_[std::size_t(i)].scanned, "the scans of a colour component are missing");
    return header_;
  }

 private:
  struct Component {
    int id = 0, quantisation = 0;
    bool scanned = false;
  };

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

  /// Huffman tables: each a byte of class and place, the numbers of codes of 1 to 16 bits, and their values.
  void read_code_tables(std::int64_t length) {
    std::int64_t at = at_ + 2;
    const std::int64_t end = at_ + length;
    while (at < end) {
      check(at + 17 <= end, "a table of codes that is cut off");
      const int kind = bytes_[at] >> 4, place = bytes_[at] & 15;
      check(kind <= 1 && place <= 3, "a table of codes for place ", kind, ".", place);
      std::int64_t codes = 0;
      for (int i = 1; i <= 16; ++i) codes += bytes_[at + i];
      check(codes <= 256, "a table of ", codes, " codes; 256 are possible");
      at += 17 + codes;
      check(at <= end, "a table of codes that is cut off");
      (kind == 0 ? dc_tables_ : ac_tables_)[std::size_t(place)] = true;
    }
  }
  /// Quantisation tables: each a byte of precision and place, and 64 numbers of one or two bytes.
  void read_quantisation(std::int64_t length) {
    std::int64_t at = at_ + 2;
    const std::int64_t end = at_ + length;
    while (at < end) {
      const int precision = bytes_[at] >> 4, place = bytes_[at] & 15;
      check(precision <= 1 && place <= 3, "a quantisation table for place ", place, " of precision ",
            precision);
      at += 1 + 64 * (precision + 1);
      check(at <= end, "a quantisation table that is cut off");
      quantisation_[std::size_t(place)] = true;
    }
  }
  void read_frame(std::int64_t length, int marker) {
    check(header_.components == 0, "more than one frame");
    check(length >= 8, "a frame header of ", length, " bytes");
    header_ = {word(at_ + 5), word(at_ + 3), bytes_[at_ + 7], marker == 0xC2};
    check(header_.components == 1 || header_.components == 3 || header_.components == 4, header_.components,
          " colour components; 1, 3 and 4 are read");
    check(length == 8 + 3 * header_.components, "a frame header of ", length, " bytes for ",
          header_.components, " components");
    for (int i = 0; i < header_.components; ++i) {
      const std::int64_t at = at_ + 8 + 3 * i;
      components_[std::size_t(i)] = {bytes_[at], bytes_[at + 2], false};
      check(bytes_[at + 2] <= 3, "a component with quantisation table ", int(bytes_[at + 2]));
    }
  }
  void read_scan(std::int64_t length) {
    check(header_.components > 0, "a scan before the frame header");
    const int count = length > 2 ? bytes_[at_ + 2] : 0;
    check(count >= 1 && count <= 4 && length == 6 + 2 * count, "a scan header of ", length, " bytes");
    const int first = bytes_[at_ + 3 + 2 * count], refinement = bytes_[at_ + 5 + 2 * count] >> 4;
    for (int i = 0; i < count; ++i) {
      const auto end = components_.begin() + header_.components;
      const auto component = std::find_if(
          components_.begin(), end, [&](const Component& c) { return c.id == bytes_[at_ + 3 + 2 * i]; });
      check(component != end, "a scan of a component that the frame does not have");
      const int tables = bytes_[at_ + 4 + 2 * i], dc = tables >> 4, ac = tables & 15;
      check(dc <= 3 && ac <= 3, "a scan with tables ", dc, " and ", ac);
      // A progressive scan codes either the averages of blocks (first is 0; refinements are plain bits) or
      // the rest.
      const bool uses_dc = !header_.progressive || (first == 0 && refinement == 0);
      const bool uses_ac = !header_.progressive || first > 0;
      check((!uses_dc || dc_tables_[std::size_t(dc)]) && (!uses_ac || ac_tables_[std::size_t(ac)]) &&
                quantisation_[std::size_t(component->quantisation)],
            "a scan whose tables are missing");
      component->scanned = true;
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
  std::array<Component, 4> components_{};
  std::array<bool, 4> dc_tables_{}, ac_tables_{}, quantisation_{};
};

}  // namespace

bool is_jpeg(Span<const std::uint8_t> bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF;
}

JpegHeader read_jpeg_segments(Span<const std::uint8_t> bytes, const std::string& path, std::string_view op) {
  return SegmentWalk(bytes, path, op).run();
}

}  // namespace atrous::io
