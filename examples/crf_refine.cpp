#include <algorithm>
#include <filesystem>
#include <iostream>

#include "atrous/autograd/softmax.h"
#include "atrous/io/colormap.h"
#include "atrous/io/image.h"
#include "atrous/io/label_png.h"
#include "atrous/io/npy.h"
#include "examples/support/crf_flags.h"

// crf_refine: probabilities or labels of one image, refined by a dense CRF.

using namespace atrous;
using namespace atrous::examples;

namespace {

struct Flags {
  CommonFlags common;
  CrfFlags crf;
  std::string image, probabilities, labels, out = "out/crf";
  std::int64_t classes = 0, unknown = 255;
  double confidence = 0.7;
};

// [1, H, W, C] from a file of [H, W, C] or [1, H, W, C].
Tensor read_probabilities(const std::string& path) {
  const Tensor p = io::read_npy(path);
  if (p.rank() == 4) return p;
  if (p.rank() != 3) throw UsageError("--probabilities: " + path + " must hold [H, W, C]");
  return p.reshape({1, p.dim(0), p.dim(1), p.dim(2)});
}

// Labels without a number of classes: as many as the largest label says.
std::int64_t classes_of(const Tensor& labels, std::int64_t unknown) {
  std::int64_t most = 1;
  for (const std::uint8_t v : labels.span<std::uint8_t>())
    if (v != unknown) most = std::max<std::int64_t>(most, v);
  return most + 1;
}

Tensor unary_of(const Flags& flags) {
  if (!flags.probabilities.empty())
    return models::unary_from_probabilities(read_probabilities(flags.probabilities).to(Dtype::f32));
  const Tensor labels = io::read_label_png(flags.labels);
  const std::int64_t classes = flags.classes ? flags.classes : classes_of(labels, flags.unknown);
  return models::unary_from_labels(labels, classes,
                                   {.confidence = flags.confidence, .unknown_label = flags.unknown});
}

void refine(const Flags& flags) {
  if (flags.probabilities.empty() == flags.labels.empty())
    throw UsageError("give one of --probabilities and --labels");
  const Device device = flags.common.apply();
  const Crf crf = flags.crf.crf();
  const Tensor image = io::read_image(flags.image), unary = unary_of(flags);
  const Tensor q = crf.marginals(unary.to(device), image).to(kCpu);
  const Tensor labels = argmax_channels(q);
  const std::filesystem::path out = flags.out;
  std::filesystem::create_directories(out);
  io::write_npy((out / "q.npy").string(), q.reshape({q.dim(1), q.dim(2), q.dim(3)}));
  const std::int64_t classes = q.dim(3);
  if (classes > 256) throw UsageError("pictures go up to 256 classes; q.npy is written");
  const io::Colormap map = classes == io::voc_colormap().size() ? io::voc_colormap() : io::colormap(classes);
  io::write_label_png((out / "labels.png").string(), labels, map);
  io::write_overlay((out / "overlay.png").string(), image, labels, map);
  std::cout << crf.describe() << '\n' << (out / "overlay.png").string() << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Refines the segmentation of an image by a fully connected CRF: writes q.npy, labels.png, "
      "overlay.png.");
  app.add_option("--image", flags.image, "JPEG, PNG or BMP")->required();
  app.add_option("--probabilities", flags.probabilities, "float32 [H, W, C], each pixel adding up to 1");
  app.add_option("--labels", flags.labels, "Label image (palette indices or grey values)");
  app.add_option("--classes", flags.classes, "Classes of --labels (default: up to the largest label)")
      ->check(CLI::Range(2, 256));
  app.add_option("--unknown-label", flags.unknown, "Pixels of --labels that say nothing")
      ->capture_default_str();
  app.add_option("--confidence", flags.confidence, "How far --labels are trusted, in (0, 1)")
      ->capture_default_str();
  app.add_option("--out", flags.out, "Folder for the results")->capture_default_str();
  flags.crf.add_to(app, "default: demo with 10 iterations");
  app.add_option("--device", flags.common.device, "cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--threads", flags.common.threads, "Threads (default: the processors this process may use)")
      ->check(CLI::Range(1, 1024));
  return run(app, argc, argv, [&] { refine(flags); });
}
