#include "atrous/io/file_dataset.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "atrous/core/error.h"
#include "atrous/io/image.h"
#include "atrous/io/label_png.h"

namespace atrous::io {
namespace {

namespace fs = std::filesystem;

bool is_image(const fs::path& path) {
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return char(std::tolower(c)); });
  return ending == ".png" || ending == ".jpg" || ending == ".jpeg" || ending == ".bmp";
}

// File by its path below `root` without the ending ("" stands for any image's extension).
std::map<std::string, std::string> files_by_stem(const std::string& root, const std::string& ending) {
  ATROUS_CHECK(IoError, fs::is_directory(root), "dataset", root, ": there is no such folder");
  std::map<std::string, std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file() || !is_image(entry.path())) continue;
    std::string stem = fs::relative(entry.path(), root).string();
    if (ending.empty())
      stem = fs::path(stem).replace_extension().string();
    else if (stem.ends_with(ending))
      stem.resize(stem.size() - ending.size());
    else
      continue;
    const auto [place, fresh] = found.emplace(stem, entry.path().string());
    ATROUS_CHECK(IoError, fresh, "dataset", entry.path().string(), " and ", place->second,
                 " have the same stem");
  }
  return found;
}

}  // namespace

LabelMap::LabelMap(std::int64_t classes, const std::vector<std::int64_t>& ignored) {
  for (std::size_t v = 0; v < meaning_.size(); ++v)
    meaning_[v] = std::int64_t(v) < classes ? int(v) : kNoClass;
  for (const std::int64_t v : ignored) meaning_.at(std::size_t(v)) = kIgnore;
}

std::string LabelMap::ignored_values() const {
  std::string text;
  for (std::size_t v = 0; v < meaning_.size(); ++v)
    if (meaning_[v] == kIgnore) text += (text.empty() ? "" : ", ") + std::to_string(v);
  return text.empty() ? "nothing" : text;
}

FileDataset::FileDataset(const std::string& where, std::vector<Pair> pairs, Colormap colormap,
                         const LabelMap& map)
    : Dataset(std::move(colormap)), pairs_(std::move(pairs)), map_(map) {
  ATROUS_CHECK(IoError, !pairs_.empty(), "dataset", where, ": there are no images");
}

Tensor FileDataset::labels(std::int64_t i) const {
  const std::string& path = pairs_.at(std::size_t(i)).labels;
  Tensor labels = read_label_png(path);
  const Span<std::uint8_t> values = labels.span<std::uint8_t>();
  for (std::int64_t p = 0; p < values.size(); ++p) {
    const int meaning = map_[values[p]];
    ATROUS_CHECK(ValueError, meaning != LabelMap::kNoClass, "dataset", path, ": label ", int(values[p]),
                 " at row ", p / labels.dim(2), ", column ", p % labels.dim(2), "; there are ", classes(),
                 " classes (0 to ", classes() - 1, "), and ", map_.ignored_values(), " is ignored");
    values[p] = std::uint8_t(meaning);
  }
  return labels;
}

Sample FileDataset::sample(std::int64_t i) const {
  const Pair& pair = pairs_.at(std::size_t(i));
  Sample sample{read_image(pair.image), labels(i), name(i)};
  ATROUS_CHECK(IoError,
               sample.image.dim(1) == sample.labels.dim(1) && sample.image.dim(2) == sample.labels.dim(2),
               "dataset", pair.image, " is ", sample.image.dim(2), 'x', sample.image.dim(1),
               " pixels, its labels ", pair.labels, " are ", sample.labels.dim(2), 'x', sample.labels.dim(1));
  return sample;
}

std::string FileDataset::name(std::int64_t i) const {
  return fs::path(pairs_.at(std::size_t(i)).image).stem().string();
}

std::vector<FileDataset::Pair> paired_files(const std::string& images, const std::string& image_ending,
                                            const std::string& labels, const std::string& label_ending) {
  const auto pictures = files_by_stem(images, image_ending), maps = files_by_stem(labels, label_ending);
  std::vector<FileDataset::Pair> pairs;
  for (const auto& [stem, path] : pictures) {
    const auto partner = maps.find(stem);
    ATROUS_CHECK(IoError, partner != maps.end(), "dataset", path, " has no labels: ", labels, '/', stem,
                 label_ending.empty() ? ".png" : label_ending, " is not there");
    pairs.push_back({path, partner->second});
  }
  for (const auto& [stem, path] : maps)
    ATROUS_CHECK(IoError, pictures.count(stem), "dataset", path, " has no image: ", images, '/', stem,
                 image_ending, " is not there");
  return pairs;
}

Colormap read_classes(const std::string& path) {
  std::ifstream file(path);
  ATROUS_CHECK(IoError, file.good(), "dataset", path, ": cannot be read");
  Colormap map = colormap(1);
  map.classes.clear();
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    ATROUS_CHECK(IoError, line.size() <= 4096, "dataset", path, ", line ", number,
                 ": longer than 4096 bytes");
    // The three numbers are the last words, so names may have blanks.
    std::istringstream words(line);
    std::vector<std::string> parts;
    for (std::string word; words >> word;) parts.push_back(word);
    int rgb[3] = {-1, -1, -1};
    for (std::size_t k = 0; k < 3 && parts.size() > 3; ++k) {
      const std::string& word = parts[parts.size() - 3 + k];
      if (word.size() <= 3 &&
          std::all_of(word.begin(), word.end(), [](unsigned char c) { return std::isdigit(c); }))
        rgb[k] = std::stoi(word);
    }
    for (const int v : rgb)
      ATROUS_CHECK(IoError, v >= 0 && v <= 255, "dataset", path, ", line ", number,
                   ": wanted `name r g b`, found \"", line, '"');
    std::string name = parts[0];
    for (std::size_t k = 1; k + 3 < parts.size(); ++k) name += ' ' + parts[k];
    map.classes.push_back({name, {std::uint8_t(rgb[0]), std::uint8_t(rgb[1]), std::uint8_t(rgb[2])}});
  }
  ATROUS_CHECK(IoError, map.size() >= 1 && map.size() <= 255, "dataset", path, ": ", map.size(),
               " classes; 1 to 255 are allowed");
  return map;
}

}  // namespace atrous::io
