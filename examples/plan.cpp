#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "atrous/core/error.h"
#include "atrous/core/parallel.h"
#include "atrous/io/file.h"
#include "atrous/models/plan.h"
#include "atrous/models/registry.h"
#include "examples/support/training.h"

// plan: how much memory a network will take, before any is taken.

using namespace atrous;
using namespace atrous::examples;

namespace {

struct Flags {
  CommonFlags common;
  TrainOptions train;  // of which --optimizer counts
  std::string size = "513x513", fit;
  std::int64_t batch = 1;
  bool training = false, check = false;
};

// A plan for a device that is not there is what a plan is for: the name alone counts.
Device named_device(const std::string& text) {
  if (text == "cpu") return kCpu;
  int index = 0;
  char rest = 0;
  if (text == "cuda" || (std::sscanf(text.c_str(), "cuda:%d%c", &index, &rest) == 1 && index >= 0))
    return {DeviceType::cuda, index};
  throw UsageError("--device: \"" + text + "\" is not cpu, cuda or cuda:N");
}

// "20GiB", "512MiB", "8GB" or a number of bytes.
std::int64_t parse_bytes(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const std::string unit = end;
  const std::pair<const char*, double> units[] = {{"", 1},      {"MB", 1e6},        {"GB", 1e9},
                                                  {"TB", 1e12}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}};
  for (const auto& [name, factor] : units)
    if (unit == name && end != text.c_str() && number > 0 && number * factor < 1e18)
      return std::int64_t(number * factor);
  throw UsageError("--fit: \"" + text + "\" is not a number of bytes, such as 20GiB");
}

models::ModelConfig config_of(const CommonFlags& common) {
  const auto& flags = common;
  return models::resolve(flags.model, {.classes = flags.classes ? flags.classes : 21,
                                       .output_stride = flags.output_stride,
                                       .width = flags.width});
}

void print(const models::Plan& plan, Device device) {
  const auto row = [](const char* what, std::int64_t bytes) {
    std::printf("  %-34s %14ld  %9.1f MiB\n", what, long(bytes), double(bytes) / (1 << 20));
  };
  std::cout << "bytes on " << device << '\n';
  row("weights and statistics", plan.parameters);
  if (plan.optimizer) row("optimiser's state", plan.optimizer);
  row("most in use at once", plan.device.peak);
  row("peak, with freed blocks kept", plan.peak_bytes());
  if (!device.is_cpu()) {
    std::cout << "bytes on cpu\n";
    row("peak, with freed blocks kept", plan.host.in_use + plan.host.cached);
  }
}

void run_plan(const Flags& flags) {
  if (flags.common.threads > 0) set_threads(flags.common.threads);
  const Device device = named_device(flags.common.device);
  const auto [height, width] = parse_size("--size", flags.size);
  models::PlanRequest request{.batch = flags.batch, .height = height, .width = width, .device = device};
  if (flags.training)
    request.optimizer = [&](models::Model& model) { return make_optimizer(flags.train, model); };
  const models::ModelConfig config = config_of(flags.common);
  if (!flags.fit.empty()) {
    request.batch = models::largest_batch(config, request, parse_bytes(flags.fit));
    if (!request.batch) {
      request.batch = 1;
      const double needed = double(models::plan(config, request).peak_bytes()) / (1 << 20);
      fail<ValueError>("plan", "a batch of one takes ", std::int64_t(needed), " MiB: more than ", flags.fit);
    }
  }
  const models::Plan plan = models::plan(config, request);
  std::printf("%s, output stride %ld, %ld classes: %s, batch %ld of %ldx%ld\n", config.name.c_str(),
              long(config.output_stride), long(config.classes),
              flags.training ? ("training with " + flags.train.optimizer).c_str() : "inference",
              long(request.batch), long(height), long(width));
  print(plan, device);
  nlohmann::ordered_json json{{"model", config.name},
                              {"output_stride", config.output_stride},
                              {"classes", config.classes},
                              {"batch", request.batch},
                              {"height", height},
                              {"width", width},
                              {"train", flags.training},
                              {"device", flags.common.device},
                              {"parameter_bytes", plan.parameters},
                              {"optimizer_bytes", plan.optimizer},
                              {"peak_in_use_bytes", plan.device.peak},
                              {"peak_bytes", plan.peak_bytes()},
                              {"host_peak_bytes", plan.host.in_use + plan.host.cached}};
  if (flags.check) {
    flags.common.apply();  // now it has to be there
    const MemoryStats before = memory_stats(device);
    const auto model = models::build(config);
    model->to(device);
    models::run_planned(*model, request);
    const MemoryStats after = memory_stats(device);
    const std::int64_t measured = after.in_use + after.cached - before.in_use - before.cached;
    std::printf("measured: %ld bytes, %.4f of the plan\n", long(measured),
                double(measured) / double(plan.peak_bytes()));
    json["measured_bytes"] = measured;
  }
  if (!flags.common.json.empty()) io::write_text(flags.common.json, json.dump(1) + "\n", "plan");
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Prints the memory that a network takes, by device, before anything is allocated: the sizes of a whole "
      "run are rehearsed, and nothing is computed.");
  flags.common.add_model(app);
  flags.common.add_run(app);
  flags.common.add_json(app);
  app.add_option("--size", flags.size, "HxW of the images, or of the training crops")->capture_default_str();
  app.add_option("--batch", flags.batch, "Images at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 65536));
  app.add_flag("--train", flags.training, "A training step; without it, images to labels");
  app.add_option("--optimizer", flags.train.optimizer, "sgd or adamw")
      ->capture_default_str()
      ->check(CLI::IsMember({"sgd", "adamw"}));
  app.add_option("--fit", flags.fit, "Plan the largest batch that fits into this many bytes, such as 20GiB");
  app.add_flag("--check", flags.check, "Then run it once, on zeros, and print what was measured");
  return run(app, argc, argv, [&] { run_plan(flags); });
}
