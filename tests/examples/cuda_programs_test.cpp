#include <string>
#include <vector>

#include "atrous/core/device.h"
#include "atrous/io/image.h"
#include "atrous/io/label_png.h"
#include "tests/examples/program_runs.h"
#include "tests/support/catch.h"

// The example programs with --device cuda: linked with the emulated device, the whole way from the flag down
// to the kernels; as they ship, on a machine without a device.

namespace atrous::tests {
namespace {

Outcome plain(const Scratch& scratch, const std::string& arguments) {
  return run_program(ATROUS_PROGRAMS, scratch, arguments);
}

// The loss of each step, as text.
[[maybe_unused]] std::vector<std::string> losses(const std::string& log) {
  std::vector<std::string> found;
  const std::string key = "\"loss\":";
  for (std::size_t at = log.find(key); at != std::string::npos; at = log.find(key, at + 1)) {
    const std::size_t begin = at + key.size();
    found.push_back(log.substr(begin, log.find(',', begin) - begin));
  }
  return found;
}

}  // namespace

#if defined(ATROUS_EMULATED_PROGRAMS)

TEST_CASE("programs: train, evaluate and segment with --device cuda, on the emulator", "[examples][cuda]") {
  const Scratch scratch;
  const auto emulated = [&](const std::string& arguments) {
    return run_program(ATROUS_EMULATED_PROGRAMS, scratch, arguments);
  };
  REQUIRE(plain(scratch, "scenes --size 33x41 --classes 4 --train 3 --val 1 --out " + (scratch / "scenes"))
              .status == 0);
  const std::string data = " --data folder:" + (scratch / "scenes");
  const std::string recipe =
      "train" + data + " --classes 4 --width 0.1 --crop 33 --batch 1 --steps 2 --seed 3 --out ";

  const Outcome cuda = emulated(recipe + (scratch / "cuda") + " --device cuda");
  INFO(cuda.err << cuda.out);
  REQUIRE(cuda.status == 0);
  REQUIRE(plain(scratch, recipe + (scratch / "cpu")).status == 0);
  const auto on_cuda = losses(slurp(scratch / "cuda/log.jsonl"));
  const auto on_cpu = losses(slurp(scratch / "cpu/log.jsonl"));
  REQUIRE(on_cuda.size() == 2);
  REQUIRE(on_cpu.size() == 2);
  CHECK(std::stod(on_cuda[0]) == Approx(std::stod(on_cpu[0])).epsilon(1e-4));
  CHECK_FALSE(slurp(scratch / "cuda/checkpoint.safetensors") ==
              slurp(scratch / "cpu/checkpoint.safetensors"));

  const Outcome tf32 = emulated(recipe + (scratch / "tf32") + " --device cuda --tf32");
  INFO(tf32.err);
  REQUIRE(tf32.status == 0);
  const auto rounded = losses(slurp(scratch / "tf32/log.jsonl"));
  CHECK_FALSE(rounded == on_cuda);
  CHECK(std::stod(rounded.at(0)) == Approx(std::stod(on_cuda[0])).epsilon(1e-2));

  const std::string weights = " --weights " + (scratch / "cuda/checkpoint.safetensors");
  const std::string evaluate = "evaluate" + data + weights + " --json " + (scratch / "e.json");
  const Outcome scores = emulated(evaluate + " --device cuda");
  INFO(scores.err);
  REQUIRE(scores.status == 0);
  CHECK(has(slurp(scratch / "e.json"), "\"miou\""));

  const std::string image = (scratch / "scenes") + "/val/scene_0.png";
  const Outcome segmented =
      emulated("segment" + weights + " --device cuda --out " + (scratch / "s") + " " + image);
  INFO(segmented.err);
  REQUIRE(segmented.status == 0);
  CHECK(io::read_label_png(scratch / "s/scene_0_labels.png").shape() == Shape{1, 33, 41});
}

TEST_CASE("programs: a device that the emulator does not have is named", "[examples][cuda]") {
  const Scratch scratch;
  const Outcome o =
      run_program(ATROUS_EMULATED_PROGRAMS, scratch, "train --device cuda:7 --out " + (scratch / "run"));
  INFO(o.err);
  CHECK(o.status == 2);
  CHECK(o.one_line());
  CHECK(has(o.err, "cuda:7"));
}

#endif

TEST_CASE("programs: --device cuda without a device ends with one sentence", "[examples][cuda]") {
  const Scratch scratch;
  if (cuda_device_count() > 0) {
    WARN("there is a CUDA device: skipped");
    return;
  }
  const std::string image = scratch / "x.png";
  io::write_png(image, Tensor::full({1, 8, 8, 3}, 77, Dtype::u8));
  const std::vector<std::string> calls{"train --out " + (scratch / "run"),
                                       "segment --weights none.safetensors " + image,
                                       "evaluate --weights none.safetensors", "selftest"};
  for (const std::string& arguments : calls) {
    const Outcome o = plain(scratch, arguments + " --device cuda");
    INFO(arguments << ": " << o.err);
    CHECK(o.status == 2);
    CHECK(o.one_line());
    CHECK(has(o.err, "--device"));
  }
}

}  // namespace atrous::tests
