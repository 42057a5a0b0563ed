#include <benchmark/benchmark.h>

#include <cstring>
#include <iostream>

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
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
