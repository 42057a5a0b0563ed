#include <filesystem>
#include <iostream>
#include <set>

#include "atrous/io/image.h"
#include "atrous/io/label_png.h"
#include "atrous/io/npy.h"
#include "examples/support/progress.h"
#include "examples/support/segmenter.h"

// segment: images to label maps and overlays, with the weights that `train` wrote.

using namespace atrous;
using namespace atrous::examples;

namespace {

struct Flags {
  CommonFlags common;
  SegmentFlags segment;
  std::vector<std::string> images;
  std::string out = "out/segment", logits, input_npy;
};

void check(const Flags& flags) {
  if (flags.images.empty() && flags.input_npy.empty()) throw UsageError("no image given, and no --input-npy");
  if (!flags.input_npy.empty() && !flags.images.empty())
    throw UsageError("--input-npy takes the place of images; give one or the other");
  if (!flags.input_npy.empty() && flags.logits.empty())
    throw UsageError("--input-npy wants --logits: there is no picture to draw on");
  if (!flags.logits.empty() && flags.images.size() > 1)
    throw UsageError("--logits: one image at a time, sizes may differ");
  std::set<std::string> stems;
  for (const auto& path : flags.images)
    if (!stems.insert(std::filesystem::path(path).stem().string()).second)
      throw UsageError(path + ": another image has the same stem, and would have the same output files");
}

void segment_all(const Flags& flags) {
  check(flags);
  Segmenter segmenter(flags.segment, flags.common.apply());
  if (!flags.input_npy.empty()) {
    io::write_npy(flags.logits, segmenter.logits(io::read_npy(flags.input_npy)));
    std::cout << flags.logits << '\n';
    return;
  }
  std::filesystem::create_directories(flags.out);
  Progress progress("segment", "images", std::int64_t(flags.images.size()));
  std::int64_t done = 0;
  for (const auto& path : flags.images) {
    const Tensor image = io::read_image(path);
    const Tensor labels = segmenter.labels(image);
    const std::string stem = (std::filesystem::path(flags.out) / std::filesystem::path(path).stem()).string();
    io::write_label_png(stem + "_labels.png", labels, segmenter.colormap());
    io::write_overlay(stem + "_overlay.png", image, labels, segmenter.colormap());
    if (!flags.logits.empty()) io::write_npy(flags.logits, segmenter.logits(segmenter.input(image)));
    progress.update(++done, stem + "_overlay.png");
  }
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Segments images: writes <stem>_labels.png (palette indices) and <stem>_overlay.png.");
  app.add_option("IMAGE", flags.images, "JPEG, PNG or BMP");
  app.add_option("--out", flags.out, "Folder for the results")->capture_default_str();
  app.add_option("--logits", flags.logits,
                 "Also write the logits before the final resize: float32 [N, OH, OW, C]");
  app.add_option("--input-npy", flags.input_npy,
                 "Network input, float32 [N, H, W, 3], taken as it is, in place of images");
  flags.segment.add_to(app);
  flags.common.add_run(app);
  flags.common.add_tf32(app);
  return run(app, argc, argv, [&] { segment_all(flags); });
}
