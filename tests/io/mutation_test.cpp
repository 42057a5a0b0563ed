// Files with random damage: each is either read or refused with an IoError. Anything else (another exception,
// a crash, an access that the sanitizers object to) is a bug. Seeds are fixed, so a failure repeats.

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "atrous/core/random.h"
#include "atrous/io/checkpoint.h"
#include "atrous/io/crc32c.h"
#include "atrous/io/image.h"
#include "atrous/io/label_png.h"
#include "atrous/io/npy.h"
#include "atrous/io/safetensors.h"
#include "atrous/io/weight_file.h"
#include "tests/io/crafted_png.h"
#include "tests/io/jpeg_samples.h"
#include "tests/io/weight_samples.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

Bytes damaged(Bytes bytes, Random& random) {
  const auto size = [&] { return std::int64_t(bytes.size()); };
  for (std::int64_t left = 1 + random.below(4); left > 0 && !bytes.empty(); --left) {
    const auto at = bytes.begin() + std::ptrdiff_t(random.below(size()));
    switch (random.below(6)) {
      case 0:
        *at = std::uint8_t(*at ^ 1 << random.below(8));
        break;
      case 1:
        *at = std::uint8_t(random.below(256));
        break;
      case 2:
        *at = random.below(2) ? 0xff : 0;
        break;
      case 3:  // cut off
        bytes.erase(at, bytes.end());
        break;
      case 4:  // a piece missing
        bytes.erase(at, at + std::min<std::ptrdiff_t>(random.below(16), bytes.end() - at));
        break;
      default: {  // a piece twice
        const Bytes piece(at, at + std::min<std::ptrdiff_t>(random.below(16), bytes.end() - at));
        bytes.insert(bytes.begin() + std::ptrdiff_t(random.below(size())), piece.begin(), piece.end());
      }
    }
  }
  return bytes;
}

/// Reads `count` damaged variants of a file; returns how many could be read.
template <class Read>
int survivors(const Bytes& bytes, int count, const Read& read) {
  const TemporaryFolder folder;
  Random random(2024);
  int fine = 0;
  for (int i = 0; i < count; ++i) {
    const std::string path = folder.write("a", damaged(bytes, random));
    try {
      read(path);
      ++fine;
    } catch (const IoError& error) {
      if (std::string(error.what()).find(path) == std::string::npos)
        FAIL("round " << i << ": " << error.what());
    } catch (const std::exception& error) {
      FAIL("round " << i << ": not an IoError: " << error.what());
    }
  }
  return fine;
}

/// Recomputes the checksums of a PNG file's chunks, so that damage reaches the decoder behind them.
Bytes with_right_checksums(const Bytes& bytes) {
  Bytes out(bytes.begin(), bytes.begin() + std::min<std::ptrdiff_t>(8, std::ptrdiff_t(bytes.size())));
  std::size_t at = 8;
  while (at + 12 <= bytes.size()) {
    const std::size_t length =
        std::size_t(bytes[at]) << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3];
    if (length > bytes.size() - at - 12) break;
    const auto begin = bytes.begin() + std::ptrdiff_t(at);
    out = std::move(out) +
          png_chunk(std::string(begin + 4, begin + 8), Bytes(begin + 8, begin + 8 + std::ptrdiff_t(length)));
    at += 12 + length;
  }
  out.insert(out.end(), bytes.begin() + std::ptrdiff_t(std::min(at, bytes.size())), bytes.end());
  return out;
}

/// Recomputes the sums of the three blocks of a checkpoint's index, whose footer is whole.
Bytes with_right_sums(Bytes bytes) {
  std::size_t at = bytes.size() - 48;
  const auto number = [&] {
    std::size_t value = 0;
    for (int shift = 0;; shift += 7) {
      value |= std::size_t(bytes[at] & 127) << shift;
      if (bytes[at++] < 128) return value;
    }
  };
  const auto seal = [&](std::size_t offset, std::size_t size) {
    const std::uint32_t crc = io::crc32c({bytes.data() + offset, std::int64_t(size) + 1});
    const std::uint32_t masked = (crc >> 15 | crc << 17) + 0xa282ead8u;
    std::memcpy(bytes.data() + offset + size + 1, &masked, 4);
  };
  const std::size_t meta = number(), meta_size = number(), list = number(), list_size = number();
  seal(meta, meta_size);
  seal(list, list_size);
  seal(0, meta - 5);  // the one block of entries lies before them
  return bytes;
}

}  // namespace

TEST_CASE("damaged safetensors files are read or refused", "[io][mutation]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a");
  io::write_safetensors(path,
                        {{"weight", Tensor::full({2, 3}, 1)},
                         {"half", Tensor::full({4}, 1, Dtype::bf16)},
                         {"n", Tensor::zeros({3}, Dtype::u8)}},
                        {{"key", "value"}});
  CHECK(survivors(file_bytes(path), 2000, [](const std::string& file) { io::read_safetensors(file); }) > 10);
  io::CheckpointInfo info;
  info.classes = 2;
  info.colormap = io::colormap(2);
  io::write_checkpoint(path, info, {{"weight", Tensor::full({2, 3}, 1)}});
  survivors(file_bytes(path), 2000, [](const std::string& file) { io::read_checkpoint(file); });
}

TEST_CASE("damaged npy files are read or refused", "[io][mutation]") {
  const TemporaryFolder folder;
  io::write_npy(folder.file("a"), Tensor::full({2, 3}, 1));
  CHECK(survivors(file_bytes(folder.file("a")), 2000, [](const std::string& path) { io::read_npy(path); }) >
        10);
}

TEST_CASE("damaged files of weights are read or refused", "[io][mutation]") {
  const auto read_all = [](const std::string& path) {
    const auto file = io::open_weight_file(path);
    for (std::size_t i = 0; i < file->tensors().size(); ++i) file->read(i);
  };
  for (const char* name :
       {"torch.pth", "torch_training.pth", "small.tflite", "caffe.caffemodel", "caffe_v1.caffemodel"}) {
    INFO(name);
    survivors(file_bytes(weight_sample(name)), 1000, read_all);
  }
  // Behind the checksums: the index of a checkpoint with new sums, and the pickle of a good archive.
  const Bytes index = file_bytes(weight_sample("tensorflow.ckpt.index"));
  survivors(index, 2000, [&](const std::string& path) {
    Bytes bytes = file_bytes(path);
    bytes.resize(index.size());
    std::copy(index.end() - 48, index.end(), bytes.end() - 48);
    const std::string sealed = path + ".index";
    std::filesystem::remove(path);
    std::ofstream(sealed, std::ios::binary)
        .write(reinterpret_cast<const char*>(with_right_sums(bytes).data()), std::streamsize(bytes.size()));
    io::open_weight_file(sealed);
  });
  const std::string program = pickled_tensor("w", {2, 3}, {3, 1}, 0, 6);
  survivors(Bytes(program.begin(), program.end()), 2000, [&](const std::string& path) {
    const Bytes bytes = file_bytes(path);
    const Bytes pth = crafted_pth(std::string(bytes.begin(), bytes.end()), 6);
    std::filesystem::remove(path);
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(pth.data()), std::streamsize(pth.size()));
    read_all(path);
  });
}

TEST_CASE("damaged PNG files are read or refused", "[io][mutation]") {
  CraftedPng color{.width = 13, .height = 9, .color_type = 2},
      label{.width = 13, .height = 9, .bits = 4, .color_type = 3, .interlaced = true};
  for (int i = 0; i < 13 * 9 * 3; ++i) color.samples.push_back(std::uint16_t(i % 256));
  for (int i = 0; i < 13 * 9; ++i) label.samples.push_back(std::uint16_t(i % 16));
  label.palette = Bytes(48, 7);
  for (const CraftedPng& png : {color, label}) {
    survivors(png.encode(), 500, [](const std::string& path) { io::read_image(path); });
    survivors(png.encode(), 500, [](const std::string& path) { io::read_label_png(path); });
    const auto behind_checksums = [](const std::string& path) {
      const Bytes bytes = with_right_checksums(file_bytes(path));
      std::filesystem::remove(path);
      std::ofstream(path, std::ios::binary)
          .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
      io::read_image(path);
      io::read_label_png(path);
    };
    survivors(png.encode(), 1000, behind_checksums);
  }
}

TEST_CASE("damaged JPEG and BMP files are read or refused", "[io][mutation]") {
  for (const Bytes& bytes : {kBaselineJpeg, kProgressiveJpeg, kGreyJpeg, kCmykJpeg})
    CHECK(survivors(bytes, 1000, [](const std::string& path) { io::read_image(path); }) > 10);
  Bytes bmp = {'B', 'M', 0, 0, 0, 0, 0, 0, 0, 0, 62, 0, 0, 0, 40,
               0,   0,   0, 5, 0, 0, 0, 2, 0, 0, 0,  1, 0, 8, 0};
  bmp.resize(46);
  bmp = std::move(bmp) +
        Bytes{2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0};
  CHECK(survivors(bmp, 2000, [](const std::string& path) {
          io::read_image(path);
          io::read_label_png(path);
        }) > 10);
}

}  // namespace atrous::tests
