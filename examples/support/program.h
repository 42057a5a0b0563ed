#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "atrous/core/device.h"

// What every example program shares: how it starts, how it ends, and the flags that mean the same everywhere.

namespace atrous::examples {

/// A flag whose value makes no sense: ends the program with 2. Everything else that goes wrong ends it
/// with 1.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The flags of the contract with one meaning in all programs. Programs add those that they use.
struct CommonFlags {
  std::string model = "deeplab_v3plus_mobilenet_v2";
  std::int64_t classes = 0;        // 0: by the data set or the weights
  std::int64_t output_stride = 0;  // 0: the model's own
  double width = 1.0;
  std::string device = "cpu";
  int threads = 0;  // 0: the processors that this process may use
  std::uint64_t seed = 1;
  std::string ignore_label = "255";
  std::string json;
  bool tf32 = false;
  bool list_models = false;

  void add_model(CLI::App& app);
  void add_run(CLI::App& app);
  void add_json(CLI::App& app);
  void add_tf32(CLI::App& app);
  void add_ignore_label(CLI::App& app);
  /// Sets threads and whether TF32 is allowed, and gives the device, which is there; after parsing.
  Device apply() const;
};

/// --data and --split, for programs that read a data set.
void add_data(CLI::App& app, std::string& data);
void add_split(CLI::App& app, std::string& split);
/// "255" or "none".
std::optional<std::int64_t> parse_ignore_label(const std::string& text);
/// "513x769": height and width. Throws UsageError that names the flag.
std::pair<std::int64_t, std::int64_t> parse_size(const std::string& flag, const std::string& text);
/// "0.5,0.75,1": at least one positive number, none above `most`. Throws UsageError that names the flag.
std::vector<double> parse_numbers(const std::string& flag, const std::string& text, double most = 64);

/// Parses, runs the body, and turns every failure into one line on stderr and an exit status: 0 done, 2 wrong
/// use, 1 the rest.
int run(CLI::App& app, int argc, char** argv, const std::function<void()>& body);

}  // namespace atrous::examples
