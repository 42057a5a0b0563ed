#include <algorithm>
#include <chrono>
#include <vector>

#include "atrous/autograd/graph.h"
#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "bench/support/benches.h"
#include "bench/support/layer_rows.h"
#include "bench/support/yardstick.h"

// A row for each layer of shapes.h, batch, number of threads and direction on the CPU, and its yardsticks:
//   conv3x3/h33w33c2048k256r6b1t2/forward/cpu/f32
//   conv3x3/h33w33c2048k256r6b1t2/forward_packed/cpu/f32   with weights packed before
//   yardstick/gemm/conv3x3/h33w33c2048k256r6b1t2      a product with the same multiply-adds, by Eigen
//   yardstick/copy/dw3x3/h65w65c728r1b1t2             a copy of as many bytes as the layer must move
// CUDA: layer_bench_cuda.cpp.

namespace atrous::bench {
namespace {

std::string row(const Layer& layer, std::int64_t batch, int team) {
  return row(layer, batch) + "t" + std::to_string(team);
}

const Operation& ready_on_cpu(const Layer& layer, std::int64_t batch) {
  Ready& r = ready(layer, batch);
  if (!r.checked && checks_results()) check_operation(r.name, r.operation);
  r.checked = true;
  return r.operation;
}

// Times every call by itself, after one that takes fresh memory: "median" is of seconds, and does not mind
// what else the machine does now and then.
template <class Step>
void time_calls(benchmark::State& state, const Step& step) {
  using Clock = std::chrono::steady_clock;
  step();
  std::vector<double> seconds;
  for (auto _ : state) {
    const Clock::time_point start = Clock::now();
    step();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  const auto middle = seconds.begin() + std::ptrdiff_t(seconds.size() / 2);
  std::nth_element(seconds.begin(), middle, seconds.end());
  state.counters["median"] = *middle;
}

// What batch_norm_add adds is a result in a network, not a leaf: its gradient, which is the one that arrives,
// is handed on and not copied into memory of its own. So it ends here; PyTorch's grad() copies none either.
std::vector<Variable> with_result(const Layer& layer, std::vector<Variable> inputs) {
  if (layer.kind == Kind::batch_norm_add)
    inputs[3] = record(Op::add, inputs[3].value(), {inputs[3]}, [](const Tensor&, Gradients&) {});
  return inputs;
}

void run_layer(benchmark::State& state, const Layer& layer, std::int64_t batch, int team,
               Direction direction) {
  set_threads(team);
  const Operation& op = ready_on_cpu(layer, batch);
  std::vector<Variable> inputs;
  for (std::size_t k = 0; k < op.inputs.size(); ++k)
    inputs.emplace_back(op.inputs[k].value(), wants(direction, k));
  const auto clear = [&] {
    for (Variable& v : inputs) v.zero_grad();
  };
  if (direction == Direction::forward) {
    const NoGrad no_grad;
    time_calls(state, [&] { benchmark::DoNotOptimize(op.call(inputs).value().data()); });
  } else if (direction == Direction::forward_backward) {
    const Tensor seed = Tensor::full(op.call(inputs).shape(), 1.0);
    time_calls(state, [&] {
      op.call(with_result(layer, inputs)).backward(seed);
      clear();
    });
  } else {
    const Variable y = op.call(with_result(layer, inputs));
    const Tensor seed = Tensor::full(y.shape(), 1.0);
    time_calls(state, [&] {
      y.backward(seed, /*retain_graph=*/true);
      clear();
    });
  }
  report(state, layer, op.flops * work(direction, op), op.bytes * work(direction, op));
}

// The forward pass of a convolution whose weights were packed before, as a prepared network runs it.
void run_packed(benchmark::State& state, const Layer& layer, std::int64_t batch, int team) {
  set_threads(team);
  const Operation& op = ready_on_cpu(layer, batch);
  kernels::Conv2dDims dims;
  dims.batch = batch, dims.in_h = layer.h, dims.in_w = layer.w, dims.in_channels = layer.channels;
  dims.out_channels = layer.filters, dims.window_h = dims.window_w = layer.taps;
  dims.stride = layer.stride, dims.rate = layer.rate, dims.padding = layer.rate * (layer.taps - 1) / 2;
  dims = kernels::with_output_size(dims);
  Tensor packed = Tensor::empty({kernels::conv2d_packed_weight_size<float>(dims)});
  Tensor workspace = Tensor::empty({kernels::conv2d_forward_packed_workspace_size<float>(dims)});
  Tensor y = Tensor::empty({batch, dims.out_h, dims.out_w, layer.filters});
  kernels::conv2d_pack_weight<float>({}, dims, op.inputs[1].value().span<float>(), packed.span<float>());
  time_calls(state, [&] {
    kernels::conv2d_forward_packed<float>({}, dims, op.inputs[0].value().span<float>(),
                                          std::as_const(packed).span<float>(), {}, workspace.span<float>(),
                                          y.span<float>());
    benchmark::DoNotOptimize(y.data());
  });
  report(state, layer, op.flops, op.bytes);
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
  const double bytes = ready(layer, batch).operation.bytes;
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
void add_row(const std::string& name, Body body) {
  add(name, std::move(body))->UseRealTime();
}

}  // namespace

void register_layers_cpu() {
  for (const int team : {1, 2})
    add_row("yardstick/fma/t" + std::to_string(team), [=](benchmark::State& s) { run_fma(s, team); });
  for (const Layer& layer : layers())
    for (const std::int64_t batch : {1, 4})
      for (const int team : {1, 2}) {
        const std::string name = row(layer, batch, team);
        if (layer.kind == Kind::conv)
          add_row("yardstick/gemm/" + name,
                  [&layer, batch, team](benchmark::State& s) { run_gemm(s, layer, batch, team); });
        else
          add_row("yardstick/copy/" + name,
                  [&layer, batch, team](benchmark::State& s) { run_copy(s, layer, batch, team); });
        if (layer.kind == Kind::conv)
          add_row(name + "/forward_packed/cpu/f32",
                  [&layer, batch, team](benchmark::State& s) { run_packed(s, layer, batch, team); });
        for (const Direction d : directions(layer.kind))
          add_row(name + "/" + name_of(d) + "/cpu/f32",
                  [&layer, batch, team, d](benchmark::State& s) { run_layer(s, layer, batch, team, d); });
      }
}

}  // namespace atrous::bench
