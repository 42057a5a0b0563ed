#include <algorithm>

#include "atrous/io/npy.h"
#include "tests/examples/program_runs.h"
#include "tests/support/catch.h"
#include "tests/support/test_files.h"

// The programs with a dense CRF in them, as a user meets them.

namespace atrous::tests {
namespace {

Outcome run(const Scratch& scratch, const std::string& arguments) {
  return run_program(ATROUS_PROGRAMS, scratch, arguments);
}

constexpr std::int64_t kBird = 3;  // among VOC's classes

// Intersection over union of one class; the truth is read at the nearest pixel.
double iou(const Tensor& labels, const Tensor& truth, std::uint8_t label) {
  const std::int64_t h = labels.dim(1), w = labels.dim(2);
  std::int64_t both = 0, either = 0;
  for (std::int64_t y = 0; y < h; ++y)
    for (std::int64_t x = 0; x < w; ++x) {
      const std::int64_t ty = (2 * y + 1) * truth.dim(1) / (2 * h), tx = (2 * x + 1) * truth.dim(2) / (2 * w);
      const bool found = labels.span<std::uint8_t>()[y * w + x] == label;
      const bool there = truth.span<std::uint8_t>()[ty * truth.dim(2) + tx] == label;
      both += found && there;
      either += found || there;
    }
  return double(both) / double(either);
}

// The number behind a word of a text.
double number_after(const std::string& text, const std::string& word) {
  const auto at = text.find(word);
  return at == std::string::npos ? -1 : std::strtod(text.c_str() + at + word.size(), nullptr);
}

}  // namespace

TEST_CASE("programs: a CRF's flags are refused in one line where they make no sense", "[examples][crf]") {
  const Scratch scratch;
  for (const auto& [arguments, word] : std::vector<std::pair<std::string, std::string>>{
           {"segment --weights x --crf v9 a.png", "--crf"},
           {"segment --weights x --bilateral 4,67,3 a.png", "--bilateral"},
           {"segment --weights x --crf v2 --bilateral 4,67 a.png", "WEIGHT,SIGMA_XY,SIGMA_RGB"},
           {"segment --weights x --crf v2 --gaussian 3,0 a.png", "--gaussian"},
           {"segment --weights x --crf v2 --method best a.png", "--method"},
           {"segment --weights x --crf a.safetensors --gaussian 3,1 a.png", "--gaussian: a.safetensors"},
           {"segment --weights x --crf a.safetensors --method exact a.png", "--method: a.safetensors"},
           {"crf_tune --weights x --crf a.safetensors", "--crf"},
           {"crf_train --weights x --crf a.safetensors", "--crf"},
           {"evaluate --weights x --iterations 5", "--iterations"},
           {"evaluate --weights x --crf v2 --normalization all", "--normalization"},
           {"crf_refine --image a.png", "--probabilities"},
           {"crf_tune --weights x --bilateral 4,67,3", "--bilateral-weights"},
           {"crf_tune --weights x --bilateral-sigmas-xy 30,x", "--bilateral-sigmas-xy"},
           {"crf_tune --weights x --rounds 0", "--rounds"},
           {"crf_train --weights x --learning all", "--learning"},
           {"crf_train --data synthetic", "--weights"}}) {
    const Outcome o = run(scratch, arguments);
    INFO(arguments << "\n" << o.err);
    CHECK(o.status == 2);
    CHECK(o.one_line());
    CHECK(has(o.err, word));
  }
}

TEST_CASE("programs: crf_tune finds the same best for every number of threads, crf_train learns from it",
          "[examples][crf]") {
  const Scratch scratch;
  const std::string data = " --data folder:" + folder_data(scratch, "d", 1);
  const Outcome net =
      run(scratch, "train" + data + " --classes 3 --width 0.25 --crop 33 --batch 2 --steps 2 --out " +
                       (scratch / "net"));
  INFO(net.err);
  REQUIRE(net.status == 0);
  const std::string weights = " --weights " + (scratch / "net/checkpoint.safetensors");
  const std::string grid =
      " --bilateral-weights 2,6 --bilateral-sigmas-xy 8,20 --bilateral-sigmas-rgb 5 --iterations 2";
  for (const std::string n : {"1", "2"}) {
    const Outcome o = run(scratch, "crf_tune" + data + weights + grid + " --threads " + n + " --json " +
                                       (scratch / ("tuned" + n + ".json")));
    INFO(o.err);
    REQUIRE(o.status == 0);
    CHECK(has(o.out, "best: --crf v2 --gaussian 3,1 --bilateral "));
    CHECK(has(o.out, "without a CRF"));
  }
  const std::string tuned = slurp(scratch / "tuned1.json");
  CHECK(tuned == slurp(scratch / "tuned2.json"));
  for (const char* key : {"\"best\"", "\"tried\"", "\"without_crf\""}) CHECK(has(tuned, key));
  for (const char* learning : {"potts", "factored"}) {
    const Outcome o = run(scratch, "crf_train" + data + weights + " --learning " + learning +
                                       " --crop 33 --batch 1 --steps 2 --iterations 2 --compare --out " +
                                       (scratch / "joint"));
    INFO(o.err);
    REQUIRE(o.status == 0);
    CHECK(has(o.out, "trained on together"));
    const std::string learned = slurp(scratch / "joint/crf.json");
    CHECK(has(learned, "\"bilateral_log_sigma\""));
    CHECK_FALSE(has(learned, "null"));
    // What was trained together works together elsewhere, too.
    const Outcome both = run(
        scratch, "evaluate" + data + " --weights " + (scratch / "joint/checkpoint.safetensors") + " --crf " +
                     (scratch / "joint/crf.safetensors") + " --json " + (scratch / "both.json"));
    INFO(both.err);
    REQUIRE(both.status == 0);
    CHECK(number_after(slurp(scratch / "both.json"), "\"miou\":") == number_after(learned, "\"joint\":"));
    const Outcome other =
        run(scratch, "crf_refine --classes 5 --image " + (scratch / "d/val/c.png") + " --labels " +
                         (scratch / "d/val_labels/c.png") + " --crf " + (scratch / "joint/crf.safetensors"));
    CHECK(other.status == 2);
    CHECK(has(other.err, "learned for 3 classes, not for 5"));
  }
}

TEST_CASE("programs: segment --crf v2 gives Google's published weights the edges of the bird",
          "[examples][crf][data]") {
  const auto published = test_data("weights/deeplabv3_257_mv_gpu.tflite"), coral = test_data("coral"),
             small = test_data("weights/reference_257/coral_bird_input.png"),
             refined = test_data("crf/deeplab257_coral_bird_crf_argmax.png");
  if (!published || !coral || !small || !refined) return;
  const Scratch scratch;
  const std::string weights = scratch / "mobile.safetensors";
  REQUIRE(run(scratch, "convert " + *published + " " + weights + " --model deeplab_v3_mobilenet_v2").status ==
          0);
  const Tensor truth = io::read_label_png(*coral + "/bird_segmentation_mask.bmp");
  const auto labels = [&](const std::string& image, const std::string& flags) {
    const Outcome o =
        run(scratch, "segment --weights " + weights + " --out " + (scratch / "s") + " " + flags + image);
    INFO(o.err);
    REQUIRE(o.status == 0);
    return io::read_label_png(scratch / ("s/" + fs::path(image).stem().string() + "_labels.png"));
  };
  // The photograph as the network sees it, and at its own size with the network's given by a flag.
  const Tensor before = labels(*small, ""), after = labels(*small, "--crf v2 ");
  INFO("bird before " << iou(before, truth, kBird) << ", after " << iou(after, truth, kBird));
  CHECK(std::abs(iou(before, truth, kBird) - 0.856) < 2e-3);
  CHECK(std::abs(iou(after, truth, kBird) - 0.932) < 2e-3);
  const Tensor expected = io::read_label_png(*refined);
  std::int64_t differ = 0;
  for (std::int64_t i = 0; i < after.numel(); ++i)
    differ += after.span<std::uint8_t>()[i] != expected.span<std::uint8_t>()[i];
  CHECK(double(differ) < 2e-3 * double(after.numel()));
  const Tensor large = labels(*coral + "/bird_segmentation.bmp", "--resize 257x257 --crf v2 ");
  CHECK(large.dim(1) == 513);
  CHECK(std::abs(iou(large, truth, kBird) - 0.932) < 3e-3);
  // Flags depart from the preset: no term, no change.
  CHECK(identical(before, labels(*small, "--crf v2 --gaussian 0,1 --bilateral 0,67,3 ")));
}

}  // namespace atrous::tests
