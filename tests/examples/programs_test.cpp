#include <filesystem>
#include <fstream>
#include <map>

#include "atrous/autograd/graph.h"
#include "atrous/autograd/op.h"
#include "atrous/core/cpu_isa.h"
#include "atrous/io/colormap.h"
#include "atrous/io/image.h"
#include "atrous/io/label_png.h"
#include "atrous/io/npy.h"
#include "atrous/io/safetensors.h"
#include "atrous/layers/observer.h"
#include "atrous/models/registry.h"
#include "atrous/models/weights.h"
#include "tests/examples/program_runs.h"
#include "tests/support/catch.h"

// The example programs as a user meets them: exit status, one sentence for each mistake, files that appear,
// same bits after a break.

namespace atrous::tests {
namespace {

Outcome run(const Scratch& scratch, const std::string& arguments) {
  return run_program(ATROUS_PROGRAMS, scratch, arguments);
}

const std::string kTiny = " --width 0.25 --crop 33 --batch 2 --steps 2 ";

}  // namespace

TEST_CASE("programs: --help ends with 0 and shows the flags of the contract", "[examples]") {
  const Scratch scratch;
  for (const auto& [program, flag] :
       std::vector<std::pair<std::string, std::string>>{{"train", "--scale-range"},
                                                        {"train", "--stop-after"},
                                                        {"segment", "--logits"},
                                                        {"evaluate", "--flip"},
                                                        {"convert", "--from"},
                                                        {"parity", "--reference"},
                                                        {"plan", "--fit"},
                                                        {"selftest", "--device"}}) {
    const Outcome o = run(scratch, program + " --help");
    INFO(program << " " << o.err);
    CHECK(o.status == 0);
    CHECK(has(o.out, flag));
    CHECK(o.err.empty());
  }
  const Outcome models = run(scratch, "train --list-models");
  CHECK(models.status == 0);
  CHECK(has(models.out, "deeplab_v3plus_mobilenet_v2\n"));
}

TEST_CASE("programs: a flag that makes no sense ends with 2 and one line", "[examples]") {
  const Scratch scratch;
  const std::string out = " --out " + (scratch / "run");
  for (const auto& [arguments, word] : std::vector<std::pair<std::string, std::string>>{
           {"train --data synthetic --classes 0" + out, "--classes"},
           {"train --data synthetic --model deeplab_v9_resnet18" + out, "deeplab_v9_resnet18"},
           {"train --data synthetic --batch 0" + out, "--batch"},
           {"train --data synthetic --crop 0" + out, "--crop"},
           {"train --data synthetic --lr -1" + out, "--lr"},
           {"train --data synthetic --output-stride 7" + out, "--output-stride"},
           {"train --data synthetic --scale-range 2,0.5" + out, "--scale-range"},
           {"train --data nonsense:/x" + out, "nonsense"},
           {"train --data synthetic --device cuda:4096" + out, "--device"},
           {"train --no-such-flag" + out, "--no-such-flag"},
           {"segment --out " + (scratch / "s"), "--weights"},
           {"evaluate --weights x --resize 5 --data synthetic", "--resize"},
           {"segment --weights x --bf16 --exact photo.png", "--bf16"},
           {"segment --weights x --bf16 --tile 64 photo.png", "--bf16"},
           {"convert a b", "--model"},
           {"convert a b --model deeplab_v3_mobilenet_v2:keras", "keras"},
           {"convert a b --model deeplab_v3_mobilenet_v2 --from keras", "--from"}}) {
    const Outcome o = run(scratch, arguments);
    INFO(arguments << "\n" << o.err);
    CHECK(o.status == 2);
    CHECK(o.one_line());
    CHECK(has(o.err, word));
  }
}

TEST_CASE("programs: labels that cannot be right are refused before step 1, with file and value",
          "[examples]") {
  const Scratch scratch;
  const std::string out = " --out " + (scratch / "run") + kTiny;

  SECTION("label 30 of 21 classes") {
    const Outcome o =
        run(scratch, "train --data folder:" + folder_data(scratch, "d", 30) + " --classes 21" + out);
    INFO(o.err);
    CHECK(o.status == 1);
    CHECK(o.one_line());
    CHECK(has(o.err, "30"));
    CHECK(has(o.err, "21"));
    CHECK(has(o.err, "a.png"));
  }
  SECTION("a colour mask read as indices") {
    const std::string data = folder_data(scratch, "d", 1);
    io::write_png(data + "/train_labels/a.png", Tensor::full({1, 40, 48, 3}, 128, Dtype::u8));
    const Outcome o = run(scratch, "train --data folder:" + data + " --classes 21" + out);
    INFO(o.err);
    CHECK(o.status == 1);
    CHECK(o.one_line());
    CHECK(has(o.err, "a.png"));
    CHECK(has(o.err, "colour"));
  }
  SECTION("a missing pair") {
    const std::string data = folder_data(scratch, "d", 1);
    fs::remove(data + "/train_labels/b.png");
    const Outcome o = run(scratch, "train --data folder:" + data + " --classes 21" + out);
    INFO(o.err);
    CHECK(o.status == 1);
    CHECK(o.one_line());
    CHECK(has(o.err, "b"));
  }
  SECTION("an all-255 label is allowed: a batch of it has loss 0 and leaves the weights finite") {
    const std::string data = folder_data(scratch, "d", 255);
    fs::remove(data + "/train/b.png");
    fs::remove(data + "/train_labels/b.png");
    const Outcome o = run(scratch, "train --data folder:" + data + " --classes 21" + out);
    INFO(o.err << o.out);
    CHECK(o.status == 0);
    CHECK(has(o.out + o.err, "a"));
    CHECK(has(slurp(scratch / "run/log.jsonl"), "\"loss\":0.0"));
    for (const auto& [name, tensor] : io::read_safetensors(scratch / "run/checkpoint.safetensors").tensors) {
      if (tensor.dtype() != Dtype::f32) continue;
      INFO(name);
      bool finite = true;
      for (const float v : tensor.span<float>()) finite = finite && v - v == 0;
      CHECK(finite);
    }
  }
}

TEST_CASE("programs: train, break off, resume, evaluate and segment", "[examples]") {
  const Scratch scratch;
  const std::string recipe = "train --data folder:" + folder_data(scratch, "d", 2) +
                             " --classes 4 --seed 5 --width 0.25 --crop 65 --batch 2 --steps 6 --threads 2 ";
  const Outcome whole = run(scratch, recipe + "--out " + (scratch / "whole"));
  INFO(whole.err);
  REQUIRE(whole.status == 0);
  for (const char* file : {"checkpoint.safetensors", "log.jsonl", "metrics.json", "report.html"})
    CHECK(fs::file_size(scratch.path / "whole" / file) > 0);

  SECTION("resumed training ends in the same bits, also with another number of threads") {
    REQUIRE(run(scratch, recipe + "--stop-after 2 --out " + (scratch / "parts")).status == 0);
    CHECK_FALSE(slurp(scratch / "parts/checkpoint.safetensors") ==
                slurp(scratch / "whole/checkpoint.safetensors"));
    REQUIRE(run(scratch, "train --threads 1 --stop-after 5 --resume " + (scratch / "parts")).status == 0);
    const Outcome rest = run(scratch, "train --resume " + (scratch / "parts"));
    INFO(rest.err);
    REQUIRE(rest.status == 0);
    CHECK(slurp(scratch / "parts/checkpoint.safetensors") == slurp(scratch / "whole/checkpoint.safetensors"));
    CHECK(slurp(scratch / "parts/metrics.json") == slurp(scratch / "whole/metrics.json"));
    const Outcome other = run(scratch, "train --lr 0.5 --resume " + (scratch / "parts"));
    CHECK(other.status == 2);
    CHECK(has(other.err, "--lr"));
  }

  const std::string weights = " --weights " + (scratch / "whole/checkpoint.safetensors");
  SECTION("the checkpoint alone is enough to evaluate") {
    const Outcome o = run(scratch, "evaluate --data folder:" + (scratch / "d") + weights +
                                       " --scales 0.75,1 --flip --json " + (scratch / "e.json"));
    INFO(o.err);
    CHECK(o.status == 0);
    CHECK(has(slurp(scratch / "e.json"), "\"miou\""));
  }
  SECTION("segment writes labels and an overlay of the image's size") {
    Tensor image = Tensor::full({1, 50, 71, 3}, 77, Dtype::u8);
    io::write_png(scratch / "photo.png", image);
    const Outcome o =
        run(scratch, "segment" + weights + " --out " + (scratch / "s") + " " + (scratch / "photo.png"));
    INFO(o.err);
    REQUIRE(o.status == 0);
    CHECK(io::read_label_png(scratch / "s/photo_labels.png").shape() == Shape{1, 50, 71});
    CHECK(io::read_image(scratch / "s/photo_overlay.png").shape() == Shape{1, 50, 71, 3});
  }
  SECTION("--bf16 says what rounding changes, and ATROUS_VERBOSE=dispatch which kernels ran") {
    io::write_png(scratch / "photo.png", Tensor::full({1, 50, 71, 3}, 77, Dtype::u8));
    setenv("ATROUS_VERBOSE", "dispatch", 1);
    const Outcome o = run(
        scratch, "segment --bf16" + weights + " --out " + (scratch / "s") + " " + (scratch / "photo.png"));
    unsetenv("ATROUS_VERBOSE");
    INFO(o.out << o.err);
    REQUIRE(o.status == 0);
    CHECK(has(o.out, cpu_multiplies_bf16() ? " % of labels are the same" : "--bf16: nothing is rounded"));
    CHECK(has(o.err, "conv2d forward f32 ["));
    CHECK(has(o.err, ": in place\n"));
    CHECK(has(o.err, ": direct, bf16\n") == cpu_multiplies_bf16());
  }
  SECTION("files that are broken get their sentence") {
    const std::string out = " --out " + (scratch / "s") + " ";
    std::ofstream(scratch / "empty.png").close();
    const Outcome empty = run(scratch, "segment" + weights + out + (scratch / "empty.png"));
    INFO(empty.err);
    CHECK(empty.status == 1);
    CHECK(empty.one_line());
    CHECK(has(empty.err, "empty.png"));

    // The signature and a header chunk of 60000 x 60000 pixels, and nothing else.
    const std::string huge("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0\0\0\0\0", 33);
    std::ofstream(scratch / "huge.png", std::ios::binary) << huge;
    const Outcome big = run(scratch, "segment" + weights + out + (scratch / "huge.png"));
    INFO(big.err);
    CHECK(big.status == 1);
    CHECK(big.one_line());
    CHECK(has(big.err, "60000"));

    const std::string bytes = slurp(scratch / "whole/checkpoint.safetensors");
    std::ofstream(scratch / "cut.safetensors", std::ios::binary) << bytes.substr(0, bytes.size() - 100);
    io::write_png(scratch / "photo.png", Tensor::full({1, 8, 8, 3}, 77, Dtype::u8));
    const Outcome cut =
        run(scratch, "segment --weights " + (scratch / "cut.safetensors") + out + (scratch / "photo.png"));
    INFO(cut.err);
    CHECK(cut.status == 1);
    CHECK(cut.one_line());
    CHECK(has(cut.err, "cut.safetensors"));
  }
}

TEST_CASE("programs: a recipe gives every flag that was not given, in full in the run's folder",
          "[examples]") {
  const Scratch scratch;
  const std::string data = " --data folder:" + folder_data(scratch, "d", 2) + " --classes 4";
  const Outcome o = run(scratch, "train --recipe v2" + data + kTiny + " --lr 0.5 --out " + (scratch / "run"));
  INFO(o.err);
  REQUIRE(o.status == 0);
  const std::string text = slurp(scratch / "run/recipe.txt");
  for (const char* line :
       {"--recipe v2\n", "--crop 33\n", "--lr 0.5\n", "--policy poly\n", "--weight-decay 5e-04\n",
        "--logits-lr 10\n", "--bias-lr 2\n", "--bn-lr 0\n", "--freeze-bn true\n", "--scale-range 0.5,1.5\n",
        "--scale-step 0.25\n", "--loss-at logits\n"})
    CHECK(has(text, line));
  // Frozen means frozen: gamma, beta and the statistics are those of the start.
  std::int64_t norms = 0;
  for (const auto& [name, tensor] : io::read_safetensors(scratch / "run/checkpoint.safetensors").tensors) {
    const bool one = has(name, "gamma") || has(name, "running_var");
    if (!one && !has(name, "beta") && !has(name, "running_mean")) continue;
    ++norms;
    INFO(name);
    CHECK(identical(tensor, Tensor::full(tensor.shape(), one ? 1 : 0)));
  }
  CHECK(norms > 100);
  const Outcome unknown = run(scratch, "train --recipe v9" + data);
  CHECK(unknown.status == 2);
  CHECK(unknown.one_line());
  CHECK(has(unknown.err, "deeplab_v3plus"));
}

TEST_CASE("programs: plan says what a run then takes", "[examples]") {
  const Scratch scratch;
  const std::string what = "plan --model deeplab_v3_mobilenet_v2 --width 0.25 --size 65x97 --batch 2";
  for (const std::string mode : {"", " --train", " --train --optimizer adamw"}) {
    const Outcome o = run(scratch, what + mode + " --check");
    INFO(mode << o.out << o.err);
    REQUIRE(o.status == 0);
    const std::string measured = o.out.substr(o.out.find("bytes, ") + 7);
    CHECK(std::abs(std::stod(measured) - 1) < 0.02);
  }
  const Outcome fit = run(scratch, what + " --train --fit 100MiB");
  CHECK(fit.status == 0);
  CHECK(has(fit.out, "batch "));
  const Outcome none = run(scratch, what + " --fit 1MiB");
  CHECK(none.status == 1);
  CHECK(none.one_line());
  CHECK(run(scratch, what + " --fit much").status == 2);
  CHECK(run(scratch, what + " --device tpu").status == 2);
}

TEST_CASE("programs: convert writes nothing from a file that does not fit", "[examples]") {
  const Scratch scratch;
  io::write_safetensors(scratch / "stray.safetensors", {{"aspp0/weights", Tensor::zeros({1, 1, 320, 255})}});
  const std::string to = " " + (scratch / "out.safetensors") + " --model deeplab_v3_mobilenet_v2";
  for (const auto& [input, word] : std::vector<std::pair<std::string, std::string>>{
           {scratch / "stray.safetensors", "do not fit"}, {scratch / "none.pth", "none.pth"}}) {
    const Outcome o = run(scratch, "convert " + input + to);
    INFO(o.err);
    CHECK(o.status == 1);
    CHECK(o.one_line());
    CHECK(has(o.err, word));
    CHECK_FALSE(fs::exists(scratch.path / "out.safetensors"));
  }
  const Outcome o = run(scratch, "convert " + (scratch / "stray.safetensors") + to);
  CHECK(has(o.out, "wrong shape: \"head.aspp.conv1x1.weight\" wants [1, 1, 320, 256]"));
  CHECK(has(o.out, "missing: \"head.logits.bias\""));
}

TEST_CASE("programs: parity names the first layer that departs", "[examples]") {
  const Scratch scratch;
  const auto model = models::make("deeplab_v3_mobilenet_v2", {.classes = 3, .width = 0.25});
  model->eval();
  models::save(*model, scratch / "model.safetensors");
  Tensor x = Tensor::zeros({1, 33, 17, 3});
  for (std::int64_t i = 0; i < x.numel(); ++i) x.span<float>()[i] = float(i % 17) / 8 - 1;
  io::write_npy(scratch / "x.npy", x);
  // Activations of two layers and of the whole, the middle one with channels first.
  std::map<std::string, Tensor> outputs;
  {
    const NoGrad no_grad;
    const Variable y = model->forward(Variable(x));
    outputs["logits"] = y.value();
    int calls = 0;
    const layers::ForwardObserver observer([&](const layers::Module&, const Variable& output) {
      if (calls++ == 0) outputs["backbone.stem"] = output.value();
    });
    model->forward(Variable(x));
  }
  const fs::path folder = scratch.path / "reference";
  fs::create_directories(folder);
  const Tensor& stem = outputs.at("backbone.stem");
  Tensor planes = Tensor::empty({1, stem.dim(3), stem.dim(1), stem.dim(2)});
  const std::int64_t pixels = stem.dim(1) * stem.dim(2), channels = stem.dim(3);
  for (std::int64_t p = 0; p < pixels; ++p)
    for (std::int64_t c = 0; c < channels; ++c)
      planes.span<float>()[c * pixels + p] = stem.span<float>()[p * channels + c];
  io::write_npy((folder / "backbone.stem.npy").string(), planes);
  io::write_npy((folder / "logits.npy").string(), outputs.at("logits"));
  const std::string call = "parity --weights " + (scratch / "model.safetensors") + " --input-npy " +
                           (scratch / "x.npy") + " --reference " + folder.string();
  const Outcome same = run(scratch, call);
  INFO(same.err);
  CHECK(same.status == 0);
  CHECK(has(same.out, "backbone.stem"));
  CHECK(has(same.out, "2 layers agree"));
  const Outcome prepared = run(scratch, call + " --prepared");
  INFO(prepared.err);
  CHECK(prepared.status == 0);
  CHECK(has(prepared.out, "logits, unseen"));
  CHECK(has(prepared.out, "3 layers agree"));
  planes.span<float>()[5] += 1;
  io::write_npy((folder / "backbone.stem.npy").string(), planes);
  const Outcome other = run(scratch, call);
  CHECK(other.status == 1);
  CHECK(other.one_line());
  CHECK(has(other.err, "the first layer that departs is backbone.stem"));
  CHECK(has(run(scratch, call + " --prepared").err, "the first layer that departs is backbone.stem"));
  fs::remove_all(folder);
  fs::create_directories(folder);
  io::write_npy((folder / "no.such.layer.npy").string(), planes);
  CHECK(run(scratch, call).status == 1);
}

TEST_CASE("programs: selftest finds every operation right on the CPU, a line each", "[examples]") {
  const Scratch scratch;
  const Outcome o = run(scratch, "selftest --device cpu --json " + (scratch / "selftest.json"));
  INFO(o.out << o.err);
  CHECK(o.status == 0);
  CHECK(o.err.empty());
  for (const Op op : all_ops()) CHECK(has(o.out, std::string("\n") + op_name(op) + ' '));
  for (const char* more : {"separable_conv2d", "upsample_argmax", "upsample_confusion", "sgd", "adamw"})
    CHECK(has(o.out, std::string("\n") + more));
  CHECK(has(o.out, "\nPASS: "));
  CHECK_FALSE(has(o.out, "FAIL"));
  CHECK(has(slurp(scratch / "selftest.json"), "\"passed\": true"));

  CHECK(run(scratch, "selftest --checks everything").status == 2);
  CHECK(run(scratch, "selftest --device gpu").status == 2);
}

}  // namespace atrous::tests
