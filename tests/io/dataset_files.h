#pragma once

#include <string>
#include <vector>

#include "atrous/io/colormap.h"
#include "atrous/io/image.h"
#include "atrous/io/label_png.h"
#include "tests/support/test_files.h"

// Small data sets on disk for the tests of io/.

namespace atrous::tests {

/// Writes a grey image of this size; returns its path.
inline std::string write_image(const std::string& path, std::int64_t height, std::int64_t width,
                               double value = 100) {
  io::write_png(path, Tensor::full({1, height, width, 3}, value, Dtype::u8));
  return path;
}

/// Writes labels [1, height, width] row by row; returns the path.
inline std::string write_labels(const std::string& path, std::int64_t height, std::int64_t width,
                                const std::vector<std::uint8_t>& labels) {
  io::write_label_png(path, Tensor::from({1, height, width}, labels), io::colormap(256));
  return path;
}

}  // namespace atrous::tests
