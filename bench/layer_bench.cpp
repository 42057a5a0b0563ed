#include <benchmark/benchmark.h>

#include <map>
#include <set>

#include "atrous/autograd/graph.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "bench/support/benches.h"
#include "bench/support/operation.h"
#include "bench/support/yardstick.h"

// A row for each layer of shapes.h, batch, number of threads and direction, and its yardsticks:
//   conv3x3/h33w33c2048k256r6b1t2/forward/cpu/f32
//   yardstick/gemm/conv3x3/h33w33c2048k256r6b1t2      a plain matrix product with the same multiply-adds, by
//   Eigen yardstick/copy/dw3x3/h65w65c728r1b1t2             a copy of as many bytes as the layer must move

namespace atrous::bench {
namespace {

enum class Direction { forward, backward, backward_input, backward_weight, forward_backward };

const char* name_of(Direction d) {
  switch (d) {
    case Direction::forward:
      return "forward";
    case Direction::backward:
      return "backward";
    case Direction::backward_input:
      return "backward_input";
    case Direction::backward_weight:
      return "backward_weight";
    case Direction::forward_backward:
      return "forward_backward";
  }
  return "?";
}

std::vector<Direction> directions(Kind kind) {
  switch (kind) {
    case Kind::conv:
    case Kind::depthwise:
    case Kind::separable:
    case Kind::transposed:
      return {Direction::forward, Direction::backward_input, Direction::backward_weight};
    case Kind::bilinear:
      return {Direction::forward, Direction::backward_input};
    case Kind::batch_norm:
      return {Direction::forward, Direction::backward, Direction::forward_backward};
    case Kind::cross_entropy:
      return {Direction::forward, Direction::forward_backward};
  }
  return {};
}

// Forward passes that a direction's work amounts to: FLOP are counted as 2 for each multiply-add of the
// formula.
double work(Direction d, const Operation& op) {
  const double gradients = op.inputs.size() > 1 && op.linear ? 2 : 1;
  switch (d) {
    case Direction::backward:
      return gradients;
    case Direction::forward_backward:
      return 1 + gradients;
    default:
      return 1;
  }
}

std::string row(const Layer& layer, std::int64_t batch, int team) {
  return std::string(layer.key) + "b" + std::to_string(batch) + "t" + std::to_string(team);
}

// Made once for all rows of a layer and a batch, checked before its first timing, dropped when another layer
// comes.
const Operation& ready(const Layer& layer, std::int64_t batch) {
  static std::string held;
  static Operation operation;
  const std::string name = std::string(layer.key) + "b" + std::to_string(batch);
  if (held != name) {
    operation = {};
    operation = make_operation(layer, batch);
    check_operation(name, operation);
    held = name;
  }
  return operation;
}

void run_layer(benchmark::State& state, const Layer& layer, std::int64_t batch, int team,
               Direction direction) {
  set_threads(team);
  const Operation& op = ready(layer, batch);
  std::vector<Variable> inputs;
  for (std::size_t k = 0; k < op.inputs.size(); ++k) {
    const bool wanted = direction == Direction::backward_input    ? k == 0
                        : direction == Direction::backward_weight ? k > 0
                                                                  : true;
    inputs.emplace_back(op.inputs[k].value(), wanted);
  }
  const auto clear = [&] {
    for (Variable& v : inputs) v.zero_grad();
  };
  if (direction == Direction::forward) {
    const NoGrad no_grad;
    for (auto _ : state) benchmark::DoNotOptimize(op.call(inputs).value().data());
  } else if (direction == Direction::forward_backward) {
    const Tensor seed = Tensor::full(op.call(inputs).shape(), 1.0);
    for (auto _ : state) {
      op.call(inputs).backward(seed);
      clear();
    }
  } else {
    const Variable y = op.call(inputs);
    const Tensor seed = Tensor::full(y.shape(), 1.0);
    for (auto _ : state) {
      y.backward(seed, /*retain_graph=*/true);
      clear();
    }
  }
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["FLOP/s"] = benchmark::Counter(op.flops * work(direction, op), rate);
  state.counters["bytes/s"] =
      benchmark::Counter(op.bytes * work(direction, op), rate, benchmark::Counter::kIs1024);
  state.SetLabel(layer.place);
}

void run_gemm(benchmark::State& state, const Layer& layer, std::int64_t batch, int team) {
  set_threads(team);
  const std::int64_t pixels = batch * layer.h * layer.w, depth = layer.taps * layer.taps * layer.channels;
  // An im2col matrix of this size would not fit everywhere; a product costs the same for every block of rows.
  const std::int64_t m = std::min<std::int64_t>(pixels, 4096);
  std::vector<float> a(std::size_t(m * depth), 0.5f), b(std::size_t(depth * layer.filters), 0.25f),
      c(std::size_t(m * layer.filters));
  for (auto _ : state) {
    eigen_gemm(m, layer.filters, depth, a.data(), b.data(), c.data());
    benchmark::DoNotOptimize(c.data());
  }
  state.counters["FLOP/s"] = benchmark::Counter(2.0 * double(m) * double(depth * layer.filters),
                                                benchmark::Counter::kIsIterationInvariantRate);
  state.SetLabel("Eigen, " + std::to_string(m) + " of " + std::to_string(pixels) + " rows");
}

void run_copy(benchmark::State& state, const Layer& layer, std::int64_t batch, int team) {
  set_threads(team);
  const double bytes = make_operation(layer, batch).bytes;
  const auto n = std::int64_t(bytes / 8);  // half is read, half is written
  std::vector<float> from(std::size_t(n), 1.0f), to(std::size_t(n), 0.0f);
  for (auto _ : state) {
    copy(from.data(), to.data(), n);
    benchmark::DoNotOptimize(to.data());
  }
  state.counters["bytes/s"] = benchmark::Counter(
      8.0 * double(n), benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1024);
}

void run_fma(benchmark::State& state, int team) {
  set_threads(team);
  double flops = 0;
  for (auto _ : state) flops = fma_peak();
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

template <class Body>
void add(const std::string& name, Body body) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [name, body](benchmark::State& state) {
                                 try {
                                   body(state);
                                 } catch (const std::exception& error) {
                                   state.SkipWithError(error.what());
                                 }
                               })
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

}  // namespace

void register_layers() {
  for (const int team : {1, 2})
    add("yardstick/fma/t" + std::to_string(team), [=](benchmark::State& s) { run_fma(s, team); });
  for (const Layer& layer : layers())
    for (const std::int64_t batch : {1, 4})
      for (const int team : {1, 2}) {
        const std::string name = row(layer, batch, team);
        if (layer.kind == Kind::conv)
          add("yardstick/gemm/" + name,
              [&layer, batch, team](benchmark::State& s) { run_gemm(s, layer, batch, team); });
        else
          add("yardstick/copy/" + name,
              [&layer, batch, team](benchmark::State& s) { run_copy(s, layer, batch, team); });
        for (const Direction d : directions(layer.kind))
          add(name + "/" + name_of(d) + "/cpu/f32",
              [&layer, batch, team, d](benchmark::State& s) { run_layer(s, layer, batch, team, d); });
      }
}

}  // namespace atrous::bench
