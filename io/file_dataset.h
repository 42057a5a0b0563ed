#pragma once

#include <array>
#include <string>
#include <vector>

#include "atrous/io/dataset.h"

namespace atrous::io {

/// What each value of a label file means: a class, kIgnore, or kNoClass.
class LabelMap {
 public:
  static constexpr int kNoClass = -1;

  /// Values 0..classes-1 are classes, `ignored` are ignored, all others are errors.
  LabelMap(std::int64_t classes, const std::vector<std::int64_t>& ignored);
  void set(std::int64_t value, int meaning) { meaning_[std::size_t(value)] = meaning; }
  int operator[](std::uint8_t value) const { return meaning_[value]; }
  std::string ignored_values() const;

 private:
  std::array<int, 256> meaning_;
};

/// Pairs of image and label files.
class FileDataset : public Dataset {
 public:
  struct Pair {
    std::string image, labels;
  };

  /// Throws IoError if there is no pair; `where` says where they were looked for.
  FileDataset(const std::string& where, std::vector<Pair> pairs, Colormap colormap, const LabelMap& map);

  std::int64_t size() const override { return std::int64_t(pairs_.size()); }
  Sample sample(std::int64_t i) const override;
  Tensor labels(std::int64_t i) const override;
  std::string name(std::int64_t i) const override;

 private:
  std::vector<Pair> pairs_;
  LabelMap map_;
};

/// Files below `images` and `labels` whose names agree up to these endings, sorted by name. Throws IoError
/// that names the first file without a partner.
std::vector<FileDataset::Pair> paired_files(const std::string& images, const std::string& image_ending,
                                            const std::string& labels, const std::string& label_ending);

/// classes.txt: `name r g b` a line. Throws IoError with file and line.
Colormap read_classes(const std::string& path);

}  // namespace atrous::io
