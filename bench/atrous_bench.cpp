#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "atrous/core/device.h"
#include "bench/support/benches.h"

// atrous_bench: times the layers and networks of DeepLab. Google Benchmark's own flags;
// --benchmark_filter=REGEX picks rows, --benchmark_list_tests shows them, --device=cpu|cuda leaves out those
// of the other (without it: all that this machine can run). Every layer is checked before it is timed;
// --check=off spares that where a run before has done so (compare.py, from its second turn on).

namespace {

// Takes `flag` and its value out of the arguments; empty where it is not among them.
std::string take_flag(int& argc, char** argv, const std::string& flag) {
  std::string value;
  for (int i = 1; i < argc;) {
    if (std::strncmp(argv[i], flag.c_str(), flag.size()) != 0) {
      ++i;
      continue;
    }
    value = argv[i] + flag.size();
    std::copy(argv + i + 1, argv + argc, argv + i);
    --argc;
  }
  return value;
}

// The file of --benchmark_out is whole to the last row that was timed, also if the program is stopped there.
class FlushedJson : public benchmark::JSONReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    JSONReporter::ReportRuns(runs);
    GetOutputStream().flush();
  }
};

bool writes_json(int argc, char** argv) {
  const auto has = [&](std::string_view start) {
    return std::any_of(argv + 1, argv + argc,
                       [&](std::string_view argument) { return argument.substr(0, start.size()) == start; });
  };
  return has("--benchmark_out=") && (!has("--benchmark_out_format=") || has("--benchmark_out_format=json"));
}

}  // namespace

int main(int argc, char** argv) {
  atrous::bench::Devices devices{.cpu = true, .cuda = atrous::cuda_device_count() > 0};
  const std::string device = take_flag(argc, argv, "--device="), check = take_flag(argc, argv, "--check=");
  if (!device.empty()) devices = {.cpu = device == "cpu", .cuda = device == "cuda"};
  if (!devices.cpu && !devices.cuda) {
    std::cerr << "atrous_bench: --device is cpu or cuda\n";
    return 2;
  }
  if (!check.empty() && check != "on" && check != "off") {
    std::cerr << "atrous_bench: --check is on or off\n";
    return 2;
  }
  atrous::bench::checks_results() = check != "off";
  atrous::bench::processors();  // before any row changes it
  atrous::bench::register_layers(devices);
  atrous::bench::register_models(devices);
  atrous::bench::register_crf(devices);
  FlushedJson json;
  const bool to_file = writes_json(argc, argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks(nullptr, to_file ? &json : nullptr);
  benchmark::Shutdown();
  return 0;
}
