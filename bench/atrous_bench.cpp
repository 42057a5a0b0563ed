#include <benchmark/benchmark.h>
#include <vector>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <string_view>

#include "atrous/core/device.h"
#include "bench/support/benches.h"

// atrous_bench: times the layers and networks of DeepLab. Google Benchmark's own flags;
// --benchmark_filter=REGEX picks rows, --benchmark_list_tests shows them, --device=cpu|cuda leaves out those
// of the other (without it: all that this machine can run). Every layer is checked before it is timed.

namespace {

constexpr const char* kDevice = "--device=";

// Takes --device out of the arguments; false if it makes no sense.
bool read_device(int& argc, char** argv, atrous::bench::Devices& devices) {
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], kDevice, std::strlen(kDevice)) != 0) continue;
    const std::string_view value = argv[i] + std::strlen(kDevice);
    devices = {.cpu = value == "cpu", .cuda = value == "cuda"};
    std::copy(argv + i + 1, argv + argc, argv + i);
    --argc;
    return devices.cpu || devices.cuda;
  }
  return true;
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
  if (!read_device(argc, argv, devices)) {
    std::cerr << "atrous_bench: --device is cpu or cuda\n";
    return 2;
  }
  atrous::bench::processors();  // before any row changes it
  atrous::bench::register_layers(devices);
  atrous::bench::register_models(devices);
  FlushedJson json;
  const bool to_file = writes_json(argc, argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks(nullptr, to_file ? &json : nullptr);
  benchmark::Shutdown();
  return 0;
}
