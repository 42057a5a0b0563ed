#include "atrous/io/dataset.h"

#include <filesystem>

#include "tests/io/dataset_files.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

namespace fs = std::filesystem;
using io::Split;
using V = std::vector<std::uint8_t>;

V values(const Tensor& labels) {
  const auto v = labels.span<std::uint8_t>();
  return V(v.begin(), v.end());
}

/// DIR/train and DIR/train_labels with two images of 2x3 pixels, three classes.
class TinyFolder {
 public:
  TinyFolder() {
    for (const char* part : {"train", "train_labels"}) fs::create_directory(path(part));
    for (const std::string stem : {"b", "a"}) {
      write_image(path("train/" + stem + ".png"), 2, 3);
      write_labels(path("train_labels/" + stem + ".png"), 2, 3, {0, 1, 2, 2, 255, 0});
    }
    text("classes.txt", "ground 1 2 3\n\ntall tree 4 5 6\r\ncar 7 8 9\n");
  }
  std::string path() const { return folder_.path(); }
  std::string path(const std::string& name) const { return folder_.file(name); }
  void text(const std::string& name, const std::string& content) const { folder_.write(name, content); }
  std::unique_ptr<io::Dataset> open(const io::DatasetOptions& options = {}) const {
    return io::make_dataset("folder:" + path(), Split::train, options);
  }

 private:
  TemporaryFolder folder_;
};

/// What `call` throws, which must be a Kind with one line that has all the pieces.
template <class Kind, class Call>
void check_sentence(const Call& call, const std::vector<std::string>& pieces) {
  std::string text;
  try {
    call();
  } catch (const Kind& error) {
    text = error.what();
  } catch (const std::exception& error) {
    FAIL("another kind of exception: " << error.what());
  }
  INFO("error: " << text);
  REQUIRE(!text.empty());
  CHECK(text.find('\n') == std::string::npos);
  for (const std::string& piece : pieces) {
    INFO("wanted: " << piece);
    CHECK(text.find(piece) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("dataset: a folder's images and labels meet by their stems", "[io][dataset]") {
  const TinyFolder folder;
  const auto data = folder.open();
  REQUIRE(data->size() == 2);
  CHECK(data->classes() == 3);
  CHECK(data->colormap().names() == std::vector<std::string>{"ground", "tall tree", "car"});
  CHECK(data->colormap().classes[2].color == io::Rgb{7, 8, 9});
  CHECK(data->name(0) == "a");
  const io::Sample sample = data->sample(1);
  CHECK(sample.name == "b");
  CHECK(sample.image.shape() == Shape({1, 2, 3, 3}));
  CHECK(values(sample.labels) == V{0, 1, 2, 2, 255, 0});
  CHECK(identical(data->labels(1), sample.labels));
}

TEST_CASE("dataset: without classes.txt a folder wants a number of classes", "[io][dataset]") {
  const TinyFolder folder;
  check_sentence<ValueError>([&] { folder.open({.classes = 5}); }, {"classes.txt", "3", "5"});
  fs::remove(folder.path("classes.txt"));
  CHECK(folder.open({.classes = 5})->classes() == 5);
  check_sentence<ValueError>([&] { folder.open(); }, {folder.path(), "--classes"});
}

TEST_CASE("dataset: images or labels without a partner are named", "[io][dataset]") {
  const TinyFolder folder;
  SECTION("image") {
    const std::string lone = write_image(folder.path("train/c.png"), 2, 3);
    check_sentence<IoError>([&] { folder.open(); }, {lone, "no labels", "train_labels/c"});
  }
  SECTION("labels") {
    const std::string lone = write_labels(folder.path("train_labels/c.png"), 2, 3, V(6));
    check_sentence<IoError>([&] { folder.open(); }, {lone, "no image"});
  }
  SECTION("two images for one label map") {
    write_image(folder.path("train/a.bmp"), 2, 3);
    check_sentence<IoError>([&] { folder.open(); }, {"a.bmp", "a.png", "same stem"});
  }
}

TEST_CASE("dataset: a label that is no class is named with file, pixel and value", "[io][dataset]") {
  const TinyFolder folder;
  const std::string bad = write_labels(folder.path("train_labels/a.png"), 2, 3, {0, 1, 2, 2, 255, 30});
  check_sentence<ValueError>([&] { folder.open()->sample(0); },
                             {bad, "label 30", "row 1", "column 2", "3 classes", "0 to 2", "255 is ignored"});
  check_sentence<ValueError>([&] { io::check_labels(*folder.open()); }, {bad, "label 30"});
}

TEST_CASE("dataset: files that are not what they should be", "[io][dataset]") {
  const TinyFolder folder;
  const auto sample = [&] { folder.open()->sample(0); };
  SECTION("sizes differ") {
    write_image(folder.path("train/a.png"), 4, 5);
    check_sentence<IoError>(sample, {"train/a.png is 5x4", "train_labels/a.png are 3x2"});
  }
  SECTION("a mask in colours") {
    const std::string mask = folder.path("train_labels/a.png");
    io::write_png(mask, io::colorize(Tensor::from({1, 2, 3}, V{0, 1, 2, 2, 1, 0}), io::voc_colormap()));
    check_sentence<IoError>(sample, {mask});
  }
  SECTION("an empty image file") {
    folder.text("train/a.png", "");
    check_sentence<IoError>(sample, {"train/a.png"});
  }
  SECTION("a label file that is no image") {
    folder.text("train_labels/a.png", "not an image");
    check_sentence<IoError>(sample, {"train_labels/a.png"});
  }
  SECTION("no images at all") {
    for (const char* part : {"train", "train_labels"}) {
      fs::remove_all(folder.path(part));
      fs::create_directory(folder.path(part));
    }
    check_sentence<IoError>([&] { folder.open(); }, {folder.path("train"), "no images"});
  }
  SECTION("no folder for the split") {
    check_sentence<IoError>([&] { io::make_dataset("folder:" + folder.path(), Split::val); },
                            {folder.path("val"), "no such folder"});
  }
  SECTION("classes.txt without colours") {
    folder.text("classes.txt", "ground 1 2 3\ntree\n");
    check_sentence<IoError>([&] { folder.open(); }, {"classes.txt, line 2", "name r g b", "tree"});
  }
  SECTION("classes.txt with a colour above 255") {
    folder.text("classes.txt", "ground 1 2 256\n");
    check_sentence<IoError>([&] { folder.open(); }, {"classes.txt, line 1"});
  }
}

TEST_CASE("dataset: names that are none", "[io][dataset]") {
  const TinyFolder folder;
  const auto open = [](const std::string& spec) { return [spec] { io::make_dataset(spec, Split::train); }; };
  check_sentence<ValueError>(open("imagenet:" + folder.path()),
                             {"imagenet", "known are synthetic, folder:DIR"});
  check_sentence<ValueError>(open("folder"), {"folder:DIR"});
  check_sentence<ValueError>(open("folder:"), {"folder:DIR"});
  check_sentence<IoError>(open("folder:" + folder.path("nowhere")),
                          {folder.path("nowhere"), "no such folder"});
  check_sentence<ValueError>([] { io::split_from_name("test"); }, {"\"test\"", "train and val"});
  CHECK(io::split_from_name("val") == Split::val);
  check_sentence<ValueError>(
      [&] { io::make_dataset("camvid:" + folder.path(), Split::train, {.classes = 12}); },
      {"camvid has 11 classes", "12"});
}

TEST_CASE("dataset: the ignore label of the files becomes 255", "[io][dataset]") {
  const TinyFolder folder;
  const auto labels = [&](std::optional<std::int64_t> ignore) {
    return values(folder.open({.ignore_label = ignore})->labels(0));
  };
  CHECK(labels(255) == V{0, 1, 2, 2, 255, 0});
  write_labels(folder.path("train_labels/a.png"), 2, 3, {0, 1, 2, 2, 7, 0});
  CHECK(labels(7) == V{0, 1, 2, 2, 255, 0});
  check_sentence<ValueError>([&] { labels(std::nullopt); }, {"label 7", "nothing is ignored"});
  write_labels(folder.path("train_labels/a.png"), 2, 3, {0, 1, 2, 2, 1, 0});
  CHECK(labels(0) == V{255, 1, 2, 2, 1, 255});
  check_sentence<ValueError>([&] { labels(300); }, {"300"});
  check_sentence<ValueError>([&] { labels(-1); }, {"-1"});
}

TEST_CASE("dataset: camvid is a folder whose label 11 is ignored", "[io][dataset]") {
  const TinyFolder folder;
  write_labels(folder.path("train_labels/a.png"), 2, 3, {0, 10, 11, 255, 5, 11});
  const auto data = io::make_dataset("camvid:" + folder.path(), Split::train);
  CHECK(data->classes() == 11);
  CHECK(values(data->labels(0)) == V{0, 10, 255, 255, 5, 255});
  write_labels(folder.path("train_labels/a.png"), 2, 3, {0, 10, 12, 0, 0, 0});
  check_sentence<ValueError>([&] { data->labels(0); }, {"label 12", "11 classes (0 to 10)"});
}

TEST_CASE("dataset: voc reads list.txt and the development kit", "[io][dataset]") {
  const TemporaryFolder folder;
  const auto open = [&](Split split) { return io::make_dataset("voc:" + folder.path(), split); };
  check_sentence<IoError>([&] { open(Split::train); }, {"list.txt", "ImageSets/Segmentation/train.txt"});
  write_labels(folder.file("y.png"), 1, 2, {20, 255});
  SECTION("list.txt") {
    write_image(folder.file("x.png"), 1, 2);
    folder.write("list.txt", std::string("x.png y.png\r\n\n"));
    const auto data = open(Split::val);
    REQUIRE(data->size() == 1);
    CHECK(data->classes() == 21);
    CHECK(values(data->sample(0).labels) == V{20, 255});
    folder.write("list.txt", std::string("x.png\n"));
    check_sentence<IoError>([&] { open(Split::val); }, {"list.txt", "image label"});
    folder.write("list.txt", std::string("x.png z.png\n"));
    check_sentence<IoError>([&] { open(Split::val); }, {"z.png", "not there"});
    folder.write("list.txt", std::string("\n"));
    check_sentence<IoError>([&] { open(Split::val); }, {"no images"});
  }
  SECTION("development kit") {
    for (const char* part : {"ImageSets/Segmentation", "JPEGImages", "SegmentationClass"})
      fs::create_directories(folder.file(part));
    // The reader goes by content, so a PNG may stand in for a photograph.
    write_image(folder.file("JPEGImages/2007_1.jpg"), 1, 2);
    fs::rename(folder.file("y.png"), folder.file("SegmentationClass/2007_1.png"));
    folder.write("ImageSets/Segmentation/train.txt", std::string("2007_1\n"));
    folder.write("ImageSets/Segmentation/val.txt", std::string("2007_2\n"));
    const auto data = open(Split::train);
    CHECK(data->name(0) == "2007_1");
    CHECK(values(data->sample(0).labels) == V{20, 255});
    check_sentence<IoError>([&] { open(Split::val); }, {"JPEGImages/2007_2.jpg", "val.txt"});
  }
}

TEST_CASE("dataset: cityscapes and ade20k translate their label values", "[io][dataset]") {
  const TemporaryFolder folder;
  for (const char* part :
       {"leftImg8bit/val/ulm", "gtFine/val/ulm", "images/validation", "annotations/validation"})
    fs::create_directories(folder.file(part));
  write_image(folder.file("leftImg8bit/val/ulm/ulm_1_leftImg8bit.png"), 1, 5);
  write_labels(folder.file("gtFine/val/ulm/ulm_1_gtFine_labelIds.png"), 1, 5, {0, 7, 8, 33, 29});
  const auto city = io::make_dataset("cityscapes:" + folder.path(), Split::val);
  CHECK(city->classes() == 19);
  CHECK(values(city->sample(0).labels) == V{255, 0, 1, 18, 255});
  write_image(folder.file("images/validation/1.png"), 1, 3);
  write_labels(folder.file("annotations/validation/1.png"), 1, 3, {0, 1, 150});
  const auto ade = io::make_dataset("ade20k:" + folder.path(), Split::val);
  CHECK(ade->classes() == 150);
  CHECK(values(ade->sample(0).labels) == V{255, 0, 149});
  write_labels(folder.file("annotations/validation/1.png"), 1, 3, {0, 1, 151});
  check_sentence<ValueError>([&] { ade->sample(0); }, {"label 151", "150 classes"});
}

TEST_CASE("check_labels: counts, warnings and median-frequency weights", "[io][dataset]") {
  const TinyFolder folder;
  // Class 0: 4 of the 12 pixels of the images that have it; class 1: 5 of 12; class 2 never.
  write_labels(folder.path("train_labels/a.png"), 2, 3, {0, 1, 1, 1, 255, 0});
  write_labels(folder.path("train_labels/b.png"), 2, 3, {0, 0, 1, 1, 255, 255});
  write_image(folder.path("train/c.png"), 2, 3);
  write_labels(folder.path("train_labels/c.png"), 2, 3, V(6, 255));
  const io::LabelReport report = io::check_labels(*folder.open());
  CHECK(report.pixels == std::vector<std::int64_t>{4, 5, 0});
  CHECK(report.ignored == 9);
  REQUIRE(report.warnings.size() == 2);
  CHECK(report.warnings[0].find("c: every pixel is ignored") != std::string::npos);
  CHECK(report.warnings[1].find("car") != std::string::npos);
  const auto weights = report.median_frequency_weights.span<float>();
  REQUIRE(weights.size() == 3);
  CHECK(weights[0] == Approx(4.5 / 4));
  CHECK(weights[1] == Approx(4.5 / 5));
  CHECK(weights[2] == 0);
  CHECK(io::check_labels(*folder.open(), 1).ignored == 1);
}

TEST_CASE("dataset: the CamVid frames have their known class weights", "[io][dataset]") {
  const auto dir = test_data("camvid");
  if (!dir) return;
  const auto data = io::make_dataset("camvid:" + *dir, Split::train);
  REQUIRE(data->size() == 60);
  CHECK(data->sample(0).image.shape() == Shape({1, 360, 480, 3}));
  const io::LabelReport report = io::check_labels(*data);
  CHECK(report.warnings.empty());
  constexpr double kWeights[] = {0.2922, 0.2106, 4.8494, 0.1569, 1.0000, 0.4809,
                                 3.9670, 2.5324, 0.9748, 6.1127, 9.6435};
  const auto weights = report.median_frequency_weights.span<float>();
  for (std::int64_t c = 0; c < weights.size(); ++c) {
    INFO("class " << c);
    CHECK(weights[c] == Approx(kWeights[c]).margin(1e-4));
  }
  CHECK(double(report.ignored) / (60 * 360 * 480) == Approx(0.0418).margin(1e-4));
}

TEST_CASE("dataset: the VOC photographs are read with their labels", "[io][dataset]") {
  const auto dir = test_data("voc");
  if (!dir) return;
  const auto data = io::make_dataset("voc:" + *dir, Split::val);
  REQUIRE(data->size() == 6);
  const io::LabelReport report = io::check_labels(*data);
  CHECK(report.pixels[0] > 0);
  CHECK(report.ignored > 0);
  for (std::int64_t i = 0; i < data->size(); ++i) CHECK(data->sample(i).image.dim(3) == 3);
}

}  // namespace atrous::tests
