#include <benchmark/benchmark.h>

#include "bench/support/benches.h"

// atrous_bench: times the layers and networks of DeepLab. Google Benchmark's own flags;
// --benchmark_filter=REGEX picks rows,
// --benchmark_list_tests shows them. Every layer is compared with its formula before it is timed.

int main(int argc, char** argv) {
  atrous::bench::register_layers();
  atrous::bench::register_models();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
