// Image files that somebody made to break the reader: each is refused with one sentence that names it.

#include <algorithm>

#include "tests/io/crafted_png.h"
#include "tests/io/io_error.h"
#include "tests/io/jpeg_samples.h"

namespace atrous::tests {
namespace {

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// The place of a marker in a JPEG file.
std::size_t marker_at(const Bytes& bytes, std::uint8_t marker) {
  const Bytes pattern = {0xff, marker};
  return std::size_t(std::search(bytes.begin(), bytes.end(), pattern.begin(), pattern.end()) - bytes.begin());
}

}  // namespace

TEST_CASE("read_image: PNG files that end early", "[io][image][crafted]") {
  const TemporaryFolder folder;
  const Bytes bytes =
      CraftedPng{.width = 4, .height = 4, .color_type = 2, .samples = std::vector<std::uint16_t>(48, 7)}
          .encode();
  for (std::size_t size = 8; size < bytes.size(); ++size)
    refused_image(folder, "short.png", truncated(bytes, size));
  const Bytes no_data = png_signature() + png_chunk("IHDR", CraftedPng{.width = 4, .height = 4}.header()) +
                        png_chunk("IEND", {});
  refused_image(folder, "no_data.png", no_data);
  const Bytes short_data = png_signature() + png_chunk("IHDR", CraftedPng{.width = 4, .height = 4}.header()) +
                           png_chunk("IDAT", zlib_stored(Bytes(7))) + png_chunk("IEND", {});
  refused_image(folder, "short_data.png", short_data);
}

TEST_CASE("read_image: PNG headers that lie", "[io][image][crafted]") {
  const TemporaryFolder folder;
  const auto with_header = [](const CraftedPng& png) {
    return png_signature() + png_chunk("IHDR", png.header()) + png_chunk("IDAT", zlib_stored(Bytes(100))) +
           png_chunk("IEND", {});
  };
  const std::int64_t resident = peak_resident_bytes();
  CHECK(mentions(refused_image(folder, "a.png", with_header({.width = 65536, .height = 65536})),
                 "65536x65536"));
  CHECK(mentions(refused_image(folder, "a.png", with_header({.width = 60000, .height = 60000})),
                 "60000x60000"));
  refused_image(folder, "a.png", with_header({.width = 0, .height = 0}));
  refused_image(folder, "a.png", with_header({.width = 1, .height = 0xffffffff}));
  // Within the caps, but no compression makes 2^28 pixels of 160 bytes.
  CHECK(mentions(refused_image(folder, "a.png", with_header({.width = 16384, .height = 16384})),
                 "cannot hold"));
  refused_image(folder, "a.png", with_header({.width = 4, .height = 4, .bits = 3}));
  refused_image(folder, "a.png", with_header({.width = 4, .height = 4, .bits = 16, .color_type = 3}));
  refused_image(folder, "a.png", with_header({.width = 4, .height = 4, .color_type = 5}));
  refused_image(folder, "a.png", with_header({.width = 4, .height = 4, .color_type = 3}));  // no palette
  CHECK(peak_resident_bytes() - resident < (16 << 20));
}

TEST_CASE("read_image: PNG chunks with wrong sums, lengths and orders", "[io][image][crafted]") {
  const TemporaryFolder folder;
  const CraftedPng good{
      .width = 4, .height = 4, .color_type = 2, .samples = std::vector<std::uint16_t>(48, 7)};
  const Bytes bytes = good.encode();
  Bytes flipped = bytes;
  flipped[60] ^= 1;  // inside the pixels: the checksum tells
  refused_image(folder, "flipped.png", flipped);
  Bytes long_chunk = bytes;
  long_chunk[33] = 0x7f;  // IDAT claims 2 GiB
  refused_image(folder, "long.png", long_chunk);
  refused_image(folder, "no_header.png", png_signature() + png_chunk("IDAT", zlib_stored(good.rows())));
  refused_image(folder, "critical.png",
                png_signature() + png_chunk("IHDR", good.header()) + png_chunk("QQQQ", {1}) +
                    png_chunk("IDAT", zlib_stored(good.rows())) + png_chunk("IEND", {}));
  // Far more data than the header has pixels for: not an error that matters, and not memory either.
  const Bytes bomb = png_signature() + png_chunk("IHDR", CraftedPng{}.header()) +
                     png_chunk("IDAT", zlib_stored(Bytes(1 << 20))) + png_chunk("IEND", {});
  const std::string bomb_path = folder.write("bomb.png", bomb);
  try {
    CHECK(io::read_image(bomb_path).shape() == Shape({1, 1, 1, 3}));
  } catch (const IoError&) {
  }
  // A text chunk, however strange, is not looked at.
  const std::string path = folder.write(
      "text.png", png_signature() + png_chunk("IHDR", good.header()) + png_chunk("zTXt", Bytes(200000, 65)) +
                      png_chunk("IDAT", zlib_stored(good.rows())) + png_chunk("IEND", {}));
  CHECK(io::read_image(path).shape() == Shape({1, 4, 4, 3}));
  CHECK(
      mentions(refused_image(
                   folder, "index.png",
                   CraftedPng{.width = 2, .color_type = 3, .palette = {1, 2, 3}, .samples = {0, 1}}.encode()),
               "index 1"));
}

TEST_CASE("read_image: JPEG files that end early", "[io][image][crafted]") {
  const TemporaryFolder folder;
  for (const Bytes& bytes : {kBaselineJpeg, kProgressiveJpeg})
    for (std::size_t size = 3; size < bytes.size(); ++size)
      CHECK(mentions(refused_image(folder, "short.jpg", truncated(bytes, size)), "ends early"));
}

TEST_CASE("read_image: JPEG headers that lie", "[io][image][crafted]") {
  const TemporaryFolder folder;
  const std::size_t frame = marker_at(kBaselineJpeg, 0xc0);
  const auto with_byte = [&](std::size_t offset, std::uint8_t value) {
    Bytes bytes = kBaselineJpeg;
    bytes[frame + offset] = value;
    return bytes;
  };
  refused_image(folder, "components.jpg", with_byte(9, 0));
  refused_image(folder, "components.jpg", with_byte(9, 2));
  refused_image(folder, "precision.jpg", with_byte(4, 12));
  refused_image(folder, "arithmetic.jpg", with_byte(1, 0xc9));
  refused_image(folder, "height.jpg", [&] {
    Bytes bytes = with_byte(5, 0);
    bytes[frame + 6] = 0;
    return bytes;
  }());
  const std::int64_t resident = peak_resident_bytes();
  Bytes large = kBaselineJpeg;
  for (int i = 5; i < 9; ++i) large[frame + std::size_t(i)] = 0xea;  // 60138 x 60138
  CHECK(mentions(refused_image(folder, "large.jpg", large), "60138x60138"));
  large[frame + 5] = large[frame + 7] = 0x3f;
  CHECK(mentions(refused_image(folder, "claims.jpg", large), "cannot hold"));
  CHECK(peak_resident_bytes() - resident < (16 << 20));

  // A progressive file whose scans of the second and third component are gone.
  const std::size_t scan = marker_at(kProgressiveJpeg, 0xda);
  Bytes one_scan = kProgressiveJpeg;
  one_scan[scan + 4] = 1;
  refused_image(folder, "scan.jpg", one_scan);
  refused_image(folder, "no_scan.jpg", truncated(kProgressiveJpeg, scan) + Bytes{0xff, 0xd9});
  // A table of codes with 257 entries; one that is cut off; one that is missing.
  const std::size_t codes = marker_at(kBaselineJpeg, 0xc4);
  const auto with_table = [&](const Bytes& table) {
    const Bytes segment =
        Bytes{0xff, 0xc4, std::uint8_t((table.size() + 2) >> 8), std::uint8_t(table.size() + 2)} + table;
    Bytes bytes = kBaselineJpeg;
    bytes.insert(bytes.begin() + std::ptrdiff_t(codes), segment.begin(), segment.end());
    return bytes;
  };
  Bytes table(17 + 257);
  table[16] = 255;
  table[15] = 2;
  CHECK(mentions(refused_image(folder, "codes.jpg", with_table(table)), "257 codes"));
  refused_image(folder, "codes.jpg", with_table(truncated(table, 100)));
  Bytes no_codes = kBaselineJpeg;
  no_codes[codes + 1] = 0xfe;  // the table is a comment now
  CHECK(mentions(refused_image(folder, "no_codes.jpg", no_codes), "tables are missing"));
  refused_image(folder, "no_frame.jpg", Bytes{0xff, 0xd8, 0xff, 0xd9});
}

}  // namespace atrous::tests
