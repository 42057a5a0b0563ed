#include "atrous/io/dataset.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "atrous/core/error.h"
#include "atrous/io/file_dataset.h"
#include "atrous/io/synthetic.h"

namespace atrous::io {
namespace {

namespace fs = std::filesystem;

// The classes of a data set with a fixed list: `asked` may only repeat their number.
std::int64_t fixed_classes(const char* name, std::int64_t has, std::int64_t asked) {
  ATROUS_CHECK(ValueError, asked == 0 || asked == has, "dataset", name, " has ", has, " classes; ", asked,
               " were asked for");
  return has;
}

std::vector<std::int64_t> ignored(const DatasetOptions& options, std::vector<std::int64_t> own = {}) {
  if (!options.ignore_label) return own;
  ATROUS_CHECK(ValueError, *options.ignore_label >= 0 && *options.ignore_label <= 255, "dataset",
               "the ignore label ", *options.ignore_label, " is none that a label file can hold (0 to 255)");
  own.push_back(*options.ignore_label);
  return own;
}

std::unique_ptr<Dataset> open_folder(const std::string& dir, Split split, const DatasetOptions& options) {
  const std::string names = dir + "/classes.txt", part = dir + "/" + split_name(split);
  Colormap map;
  if (fs::exists(names)) {
    map = read_classes(names);
    fixed_classes(names.c_str(), map.size(), options.classes);
  } else {
    ATROUS_CHECK(ValueError, options.classes > 0, "dataset", dir,
                 ": how many classes? Give --classes, or a line for each in ", names);
    map = colormap(options.classes);
  }
  const LabelMap meaning(map.size(), ignored(options));
  return std::make_unique<FileDataset>(part, paired_files(part, "", part + "_labels", ""), map, meaning);
}

std::unique_ptr<Dataset> open_camvid(const std::string& dir, Split split, const DatasetOptions& options) {
  const std::string part = dir + "/" + split_name(split);
  const Colormap& map = camvid_colormap();
  fixed_classes("camvid", map.size(), options.classes);
  const LabelMap meaning(map.size(), ignored(options, {11}));
  return std::make_unique<FileDataset>(part, paired_files(part, "", part + "_labels", ""), map, meaning);
}

std::unique_ptr<Dataset> open_voc(const std::string& dir, Split split, const DatasetOptions& options) {
  const Colormap& map = voc_colormap();
  fixed_classes("voc", map.size(), options.classes);
  std::vector<FileDataset::Pair> pairs;
  const std::string list = dir + "/list.txt",
                    set = dir + "/ImageSets/Segmentation/" + split_name(split) + ".txt";
  const bool plain = fs::exists(list);
  std::ifstream file(plain ? list : set);
  ATROUS_CHECK(IoError, file.good(), "dataset", dir, ": neither ", list, " nor ", set, " is there");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string first, second;
    if (!(words >> first)) continue;
    if (plain) {
      ATROUS_CHECK(IoError, words >> second, "dataset", list, ": wanted `image label`, found \"", line, '"');
      pairs.push_back({dir + "/" + first, dir + "/" + second});
    } else {
      pairs.push_back({dir + "/JPEGImages/" + first + ".jpg", dir + "/SegmentationClass/" + first + ".png"});
    }
    for (const std::string& path : {pairs.back().image, pairs.back().labels})
      ATROUS_CHECK(IoError, fs::exists(path), "dataset", path, ", named in ", plain ? list : set,
                   ", is not there");
  }
  return std::make_unique<FileDataset>(dir, std::move(pairs), map, LabelMap(map.size(), ignored(options)));
}

std::unique_ptr<Dataset> open_cityscapes(const std::string& dir, Split split, const DatasetOptions& options) {
  const Colormap& map = cityscapes_colormap();
  fixed_classes("cityscapes", map.size(), options.classes);
  // labelIds to the 19 classes of evaluation; every other id is ignored.
  constexpr int kTrainIds[][2] = {{7, 0},   {8, 1},   {11, 2},  {12, 3},  {13, 4},  {17, 5},  {19, 6},
                                  {20, 7},  {21, 8},  {22, 9},  {23, 10}, {24, 11}, {25, 12}, {26, 13},
                                  {27, 14}, {28, 15}, {31, 16}, {32, 17}, {33, 18}};
  std::vector<std::int64_t> all(256);
  for (std::size_t v = 0; v < all.size(); ++v) all[v] = std::int64_t(v);
  LabelMap meaning(0, all);
  for (const auto& [id, train_id] : kTrainIds) meaning.set(id, train_id);
  const std::string part = split_name(split);
  return std::make_unique<FileDataset>(dir,
                                       paired_files(dir + "/leftImg8bit/" + part, "_leftImg8bit.png",
                                                    dir + "/gtFine/" + part, "_gtFine_labelIds.png"),
                                       map, meaning);
}

std::unique_ptr<Dataset> open_ade20k(const std::string& dir, Split split, const DatasetOptions& options) {
  const Colormap& map = ade20k_colormap();
  fixed_classes("ade20k", map.size(), options.classes);
  LabelMap meaning(0, {0});
  for (int value = 1; value <= 150; ++value) meaning.set(value, value - 1);
  const std::string part = split == Split::train ? "training" : "validation";
  return std::make_unique<FileDataset>(
      dir, paired_files(dir + "/images/" + part, "", dir + "/annotations/" + part, ""), map, meaning);
}

class SyntheticDataset : public Dataset {
 public:
  SyntheticDataset(Split split, const SyntheticOptions& options)
      : Dataset(synthetic_colormap(options.classes)), split_(split), options_(options) {}
  std::int64_t size() const override { return split_ == Split::train ? 2000 : 50; }
  Sample sample(std::int64_t i) const override { return synthetic_scene(options_, split_, i); }
  std::string name(std::int64_t i) const override { return "scene " + std::to_string(i); }

 private:
  Split split_;
  SyntheticOptions options_;
};

// What stands before the colon, and who opens what stands behind it.
using Open = std::unique_ptr<Dataset> (*)(const std::string&, Split, const DatasetOptions&);
constexpr std::pair<const char*, Open> kFormats[] = {{"folder", open_folder},
                                                     {"camvid", open_camvid},
                                                     {"voc", open_voc},
                                                     {"cityscapes", open_cityscapes},
                                                     {"ade20k", open_ade20k}};

}  // namespace

const char* split_name(Split split) { return split == Split::train ? "train" : "val"; }

Split split_from_name(const std::string& name) {
  if (name == "train") return Split::train;
  if (name == "val") return Split::val;
  fail<ValueError>("dataset", "there is no split \"", name, "\"; there are train and val");
}

bool is_dataset_spec(const std::string& spec) {
  const std::size_t colon = spec.find(':');
  return spec == "synthetic" ||
         (colon != std::string::npos && colon + 1 < spec.size() &&
          std::any_of(std::begin(kFormats), std::end(kFormats),
                      [&](const auto& format) { return spec.substr(0, colon) == format.first; }));
}

std::unique_ptr<Dataset> make_dataset(const std::string& spec, Split split, const DatasetOptions& options) {
  if (spec == "synthetic")
    return std::make_unique<SyntheticDataset>(
        split, SyntheticOptions{.classes = options.classes ? options.classes : SyntheticOptions{}.classes,
                                .seed = options.seed});
  const std::size_t colon = spec.find(':');
  for (const auto& [name, open] : kFormats) {
    if (spec.substr(0, colon) != name) continue;
    ATROUS_CHECK(ValueError, colon != std::string::npos && colon + 1 < spec.size(), "dataset", "\"", spec,
                 "\": wanted ", name, ":DIR");
    std::string dir = spec.substr(colon + 1);
    while (dir.size() > 1 && dir.back() == '/') dir.pop_back();
    ATROUS_CHECK(IoError, fs::is_directory(dir), "dataset", dir, ": there is no such folder");
    return open(dir, split, options);
  }
  fail<ValueError>("dataset", "unknown data \"", spec,
                   "\"; known are synthetic, folder:DIR, camvid:DIR, voc:DIR, cityscapes:DIR, ade20k:DIR");
}

LabelReport check_labels(const Dataset& dataset, std::int64_t most) {
  const std::int64_t classes = dataset.classes(),
                     count = most ? std::min(most, dataset.size()) : dataset.size();
  LabelReport report;
  report.pixels.assign(std::size_t(classes), 0);
  std::vector<std::int64_t> reach(std::size_t(classes), 0);  // pixels of the images that have the class
  for (std::int64_t i = 0; i < count; ++i) {
    const Tensor labels = dataset.labels(i);
    std::vector<std::int64_t> here(256, 0);
    for (const std::uint8_t v : std::as_const(labels).span<std::uint8_t>()) ++here[v];
    report.ignored += here[kIgnore];
    if (here[kIgnore] == labels.numel())
      report.warnings.push_back(dataset.name(i) + ": every pixel is ignored");
    for (std::size_t c = 0; c < reach.size(); ++c) {
      report.pixels[c] += here[c];
      if (here[c]) reach[c] += labels.numel();
    }
  }
  std::vector<double> frequency, present;
  for (std::size_t c = 0; c < reach.size(); ++c) {
    frequency.push_back(reach[c] ? double(report.pixels[c]) / double(reach[c]) : 0);
    if (frequency.back() > 0)
      present.push_back(frequency.back());
    else
      report.warnings.push_back("class " + std::to_string(c) + " (" + dataset.colormap().classes[c].name +
                                ") never occurs");
  }
  std::sort(present.begin(), present.end());
  const std::size_t n = present.size();
  const double median = n == 0 ? 0 : n % 2 ? present[n / 2] : 0.5 * (present[n / 2 - 1] + present[n / 2]);
  std::vector<float> weights;
  for (const double f : frequency) weights.push_back(f > 0 ? float(median / f) : 0.0f);
  report.median_frequency_weights = Tensor::from({classes}, weights);
  return report;
}

}  // namespace atrous::io
