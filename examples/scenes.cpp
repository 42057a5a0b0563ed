#include <filesystem>
#include <iostream>
#include <sstream>

#include "atrous/io/colormap.h"
#include "atrous/io/file.h"
#include "atrous/io/image.h"
#include "atrous/io/label_png.h"
#include "atrous/io/synthetic.h"
#include "examples/support/program.h"

// scenes: the built-in data set as files, in the layout that --data folder:DIR reads. Pictures to segment,
// and a pattern for a data set of one's own.

using namespace atrous;
using namespace atrous::examples;

namespace {

struct Flags {
  CommonFlags common;
  std::string out = "out/scenes", size = "161x161";
  std::int64_t train = 0, val = 8;
};

void write_split(const Flags& flags, const io::SyntheticOptions& scene, io::Split split, std::int64_t count) {
  const std::filesystem::path root = flags.out;
  const std::string name = io::split_name(split);
  std::filesystem::create_directories(root / name);
  std::filesystem::create_directories(root / (name + "_labels"));
  const io::Colormap map = io::synthetic_colormap(scene.classes);
  for (std::int64_t i = 0; i < count; ++i) {
    const io::Sample sample = io::synthetic_scene(scene, split, i);
    const std::string file = "scene_" + std::to_string(i) + ".png";
    io::write_png((root / name / file).string(), sample.image);
    io::write_label_png((root / (name + "_labels") / file).string(), sample.labels, map);
  }
}

void write_scenes(const Flags& flags) {
  const auto [h, w] = parse_size("--size", flags.size);
  const io::SyntheticOptions scene{.classes = flags.common.classes ? flags.common.classes : 6,
                                   .height = h,
                                   .width = w,
                                   .seed = flags.common.seed};
  write_split(flags, scene, io::Split::train, flags.train);
  write_split(flags, scene, io::Split::val, flags.val);
  std::ostringstream classes;
  for (const io::ClassColor& c : io::synthetic_colormap(scene.classes).classes)
    classes << c.name << ' ' << int(c.color.r) << ' ' << int(c.color.g) << ' ' << int(c.color.b) << '\n';
  io::write_text(flags.out + "/classes.txt", classes.str(), "scenes");
  std::cout << "wrote " << flags.train << " training and " << flags.val << " validation scenes to "
            << flags.out << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Writes built-in scenes as files: <out>/{train,val}/ images, <out>/{train,val}_labels/ palette PNGs, "
      "classes.txt.");
  app.add_option("--out", flags.out, "Folder")->capture_default_str();
  app.add_option("--size", flags.size, "HxW of a scene")->capture_default_str();
  app.add_option("--train", flags.train, "Training scenes")
      ->capture_default_str()
      ->check(CLI::Range(0, 100000));
  app.add_option("--val", flags.val, "Validation scenes")
      ->capture_default_str()
      ->check(CLI::Range(0, 100000));
  app.add_option("--classes", flags.common.classes, "Background included")->check(CLI::Range(2, 12));
  app.add_option("--seed", flags.common.seed, "Of the scenes")->capture_default_str();
  return run(app, argc, argv, [&] { write_scenes(flags); });
}
