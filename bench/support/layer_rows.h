#pragma once

#include <benchmark/benchmark.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bench/support/device_check.h"
#include "bench/support/operation.h"

// What the rows of layers share on both devices: directions and names, the operation at hand, registration.

namespace atrous::bench {

/// The device of the CUDA rows.
inline constexpr Device kCuda{DeviceType::cuda, 0};

enum class Direction { forward, backward, backward_input, backward_weight, forward_backward };

const char* name_of(Direction d);
std::vector<Direction> directions(Kind kind);
/// Whether the direction computes the gradient of this input.
bool wants(Direction direction, std::size_t input);
/// Forward passes that a direction's work amounts to: FLOP are counted as 2 for each multiply-add of the
/// formula.
double work(Direction d, const Operation& op);

/// "conv3x3/h33w33c2048k256r6b8"
std::string row(const Layer& layer, std::int64_t batch);

/// A layer and a batch at hand: made once for all its rows, checked before the first timing.
struct Ready {
  std::string name;
  Operation operation;
  bool checked = false;           // on the CPU
  std::optional<Results> host;    // what CUDA rows are compared with
  std::set<Number> checked_cuda;  // numbers in which they were
};
/// Drops what was at hand when another layer or batch comes.
Ready& ready(const Layer& layer, std::int64_t batch);

/// FLOP/s and bytes/s from those of one call; 0 for none.
void report(benchmark::State& state, const Layer& layer, double flops, double bytes);

/// Registers a row; what its body throws becomes the row's error.
template <class Body>
benchmark::internal::Benchmark* add(const std::string& name, Body body) {
  return benchmark::RegisterBenchmark(name.c_str(),
                                      [body](benchmark::State& state) {
                                        try {
                                          body(state);
                                        } catch (const std::exception& error) {
                                          state.SkipWithError(error.what());
                                        }
                                      })
      ->Unit(benchmark::kMillisecond);
}

void register_layers_cpu();
void register_layers_cuda();

}  // namespace atrous::bench
