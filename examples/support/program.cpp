#include "examples/support/program.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <sstream>

#include "atrous/core/device.h"
#include "atrous/core/error.h"
#include "atrous/core/factor_rounding.h"
#include "atrous/core/parallel.h"
#include "atrous/io/dataset.h"
#include "atrous/models/registry.h"

namespace atrous::examples {

void CommonFlags::add_model(CLI::App& app) {
  app.add_option(
         "--model", model,
         "Architecture, <head>_<backbone>, and behind a colon whose conventions; --list-models shows all")
      ->capture_default_str()
      ->check([](const std::string& given) -> std::string {
        try {
          models::resolve(given);
          return {};
        } catch (const ValueError& error) {
          return error.what();
        }
      });
  app.add_option("--classes", classes,
                 "Number of classes, background included (default: what the data or the weights say)")
      ->check(CLI::Range(1, 255));
  app.add_option("--output-stride", output_stride,
                 "Input pixels per feature pixel: 4, 8, 16 or 32 (default: the model's)")
      ->check(CLI::IsMember({4, 8, 16, 32}));
  app.add_option("--width", width, "Multiplier of the backbone's channels")
      ->capture_default_str()
      ->check(CLI::Range(0.05, 4.0));
  app.add_flag_callback(
      "--list-models",
      [] {
        for (const auto& name : models::names()) std::cout << name << '\n';
        throw CLI::Success();
      },
      "Print the names of all models");
}

void CommonFlags::add_run(CLI::App& app) {
  app.add_option("--device", device, "cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--threads", threads, "Threads (default: the processors this process may use)")
      ->check(CLI::Range(1, 1024));
}

void CommonFlags::add_json(CLI::App& app) {
  app.add_option("--json", json, "Also write the results to this file, for machines");
}

void CommonFlags::add_tf32(CLI::App& app) {
  app.add_flag("--tf32", tf32, "On CUDA: convolutions may round their factors to TF32 (10 bits of mantissa)");
}

void CommonFlags::add_ignore_label(CLI::App& app) {
  app.add_option("--ignore-label", ignore_label, "Label of pixels that do not count, or none")
      ->capture_default_str();
}

Device CommonFlags::apply() const {
  if (threads > 0) set_threads(threads);
  set_tf32_allowed(tf32);
  try {
    return Device::parse(device);
  } catch (const DeviceError& error) {
    throw UsageError(std::string("--device: ") + error.what());
  }
}

void add_data(CLI::App& app, std::string& data) {
  app.add_option("--data", data,
                 "synthetic | folder:DIR | camvid:DIR | voc:DIR | cityscapes:DIR | ade20k:DIR")
      ->check([](const std::string& spec) -> std::string {
        if (io::is_dataset_spec(spec)) return {};
        return "unknown data \"" + spec +
               "\"; known are synthetic, folder:DIR, camvid:DIR, voc:DIR, cityscapes:DIR, ade20k:DIR";
      })
      ->capture_default_str();
}

void add_split(CLI::App& app, std::string& split) {
  app.add_option("--split", split, "train or val")
      ->capture_default_str()
      ->check(CLI::IsMember({"train", "val"}));
}

std::optional<std::int64_t> parse_ignore_label(const std::string& text) {
  if (text == "none") return std::nullopt;
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > 255)
    throw UsageError("--ignore-label: \"" + text + "\" is neither a label (0 to 255) nor none");
  return value;
}

std::pair<std::int64_t, std::int64_t> parse_size(const std::string& flag, const std::string& text) {
  std::int64_t h = 0, w = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%ldx%ld%c", &h, &w, &rest) != 2 || h < 1 || w < 1 || h > 65535 || w > 65535)
    throw UsageError(flag + ": \"" + text + "\" is not HEIGHTxWIDTH, such as 513x769");
  return {h, w};
}

std::vector<double> parse_numbers(const std::string& flag, const std::string& text, double most) {
  std::vector<double> numbers;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    char* end = nullptr;
    const double value = std::strtod(part.c_str(), &end);
    if (part.empty() || *end || !(value > 0) || value > most)
      throw UsageError(flag + ": \"" + part + "\" is not a positive number");
    numbers.push_back(value);
  }
  if (numbers.empty()) throw UsageError(flag + ": no number given");
  return numbers;
}

int run(CLI::App& app, int argc, char** argv, const std::function<void()>& body) {
  const std::string name = std::filesystem::path(argv[0]).filename().string();
  const auto complain = [&](const std::string& text, int status) {
    std::cerr << name << ": " << text << std::endl;
    return status;
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return complain(std::string(error.what()) + " (see --help)", 2);
  }
  try {
    body();
    return 0;
  } catch (const UsageError& error) {
    return complain(error.what(), 2);
  } catch (const std::exception& error) {
    return complain(error.what(), 1);
  }
}

}  // namespace atrous::examples
