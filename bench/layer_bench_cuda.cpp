#include <algorithm>
#include <cstdlib>

#include "atrous/autograd/graph.h"
#include "atrous/core/config.h"
#include "bench/support/benches.h"
#include "bench/support/cudnn_layer.h"
#include "bench/support/device_timer.h"
#include "bench/support/layer_rows.h"
#include "bench/support/yardstick_cuda.h"

// A row for each layer of shapes.h, batch, direction and kind of numbers on the first CUDA device, and its
// yardsticks:
//   conv3x3/h33w33c2048k256r6b8/forward/cuda/bf16
//   conv3x3/h33w33c2048k256r6b8/forward/cuda-mma/bf16           the same without wgmma, of a few
//   conv3x3/h33w33c2048k256r6b8/forward/cudnn/bf16              the same by cuDNN, where the build has it
//   yardstick/gemm/conv3x3/h33w33c2048k256r6b8/cuda/bf16        a product with the same multiply-adds, by
//   cuBLAS yardstick/copy/conv3x3/h33w33c2048k256r6b8/cuda/bf16        a copy of as many bytes as the layer
//   must move

namespace atrous::bench {
namespace {

const Results& host_of(Ready& r) {
  set_threads(processors());
  if (!r.host) r.host = host_results(r.operation);
  return *r.host;
}

const Operation& ready_on_cuda(const Layer& layer, std::int64_t batch, Number number) {
  check_usable(kCuda);
  Ready& r = ready(layer, batch);
  if (!r.checked_cuda.count(number)) check_on_device(r.name, r.operation, host_of(r), kCuda, number);
  r.checked_cuda.insert(number);
  return r.operation;
}

// The median of a CUDA row is its one iteration.
void time_cuda(benchmark::State& state, std::size_t copies, const std::function<void(std::size_t)>& body) {
  if constexpr (ATROUS_WITH_CUDA) {
    const Timing timing = time_on_device(kCuda, copies, body);
    for (auto _ : state) state.SetIterationTime(timing.seconds);
    state.counters["spread"] = timing.spread;
  }
}

// Convolutions keep to mma.sync while one of these lives.
struct WithoutWgmma {
  WithoutWgmma() { setenv("ATROUS_CUDA_CONV", "mma", 1); }
  ~WithoutWgmma() { unsetenv("ATROUS_CUDA_CONV"); }
  WithoutWgmma(const WithoutWgmma&) = delete;
  WithoutWgmma& operator=(const WithoutWgmma&) = delete;
};

double bytes_in(Number number, double f32_bytes) {
  return number == Number::bf16 ? f32_bytes / 2 : f32_bytes;
}

std::size_t copies_for(double bytes) {
  if constexpr (ATROUS_WITH_CUDA) return copies_past_l2(kCuda, bytes);
  return 1;
}

void run_layer_cuda(benchmark::State& state, const Layer& layer, std::int64_t batch, Direction direction,
                    Number number) {
  const Operation& op = ready_on_cuda(layer, batch, number);
  const auto& call = number == Number::tf32 ? op.call_tf32 : op.call;
  const double bytes = bytes_in(number, op.bytes);
  // Everything a call reads and what it writes: each copy keeps its result until its next turn, so that
  // results go round in memory as well.
  struct Copy {
    std::vector<Variable> inputs;
    Variable y;
    Tensor dy;
  };
  std::vector<Copy> copies(copies_for(bytes));
  const std::vector<Variable> first =
      inputs_on(op, kCuda, number, [&](std::size_t k) { return wants(direction, k); });
  for (Copy& copy : copies)
    for (const Variable& v : first) copy.inputs.emplace_back(v.value().clone(), v.requires_grad());
  const auto clear = [](Copy& copy) {
    for (Variable& v : copy.inputs) v.zero_grad();
  };
  if (direction != Direction::forward) {
    const Tensor dy = host_of(ready(layer, batch)).dy.to(storage_of(number)).to(kCuda);
    for (Copy& copy : copies) {
      copy.y = call(copy.inputs);
      copy.dy = dy.clone();
      if (direction == Direction::forward_backward) copy.y = {};
    }
  }
  if (direction == Direction::forward) {
    const NoGrad no_grad;
    time_cuda(state, copies.size(), [&](std::size_t k) {
      copies[k].y = {};
      copies[k].y = call(copies[k].inputs);
    });
  } else if (direction == Direction::forward_backward) {
    time_cuda(state, copies.size(), [&](std::size_t k) {
      clear(copies[k]);
      call(copies[k].inputs).backward(copies[k].dy);
    });
  } else {
    time_cuda(state, copies.size(), [&](std::size_t k) {
      clear(copies[k]);
      copies[k].y.backward(copies[k].dy, /*retain_graph=*/true);
    });
  }
  report(state, layer, op.flops * work(direction, op), bytes * work(direction, op));
}

CudnnPass pass_of(Direction d) {
  return d == Direction::forward          ? CudnnPass::forward
         : d == Direction::backward_input ? CudnnPass::backward_input
                                          : CudnnPass::backward_weight;
}

void run_layer_cudnn(benchmark::State& state, const Layer& layer, std::int64_t batch, Direction direction,
                     Number number) {
  if constexpr (kHasCudnn) {
    check_usable(kCuda);
    Ready& r = ready(layer, batch);
    const Results& host = host_of(r);
    const double bytes = bytes_in(number, r.operation.bytes);
    CudnnLayer cudnn(layer, batch, pass_of(direction), number, kCuda);
    const auto there = [&](const Tensor& t) { return t.to(storage_of(number)).to(kCuda); };
    const Tensor x = there(r.operation.inputs[0].value()),
                 weight = there(cudnn.weight_for_cudnn(r.operation.inputs[1].value())), y = there(host.dy);
    struct Copy {
      Tensor x, weight, y;
    };
    std::vector<Copy> copies(copies_for(bytes));
    for (Copy& copy : copies) {
      copy = {x.clone(), weight.clone(), y.clone()};
      cudnn.bind(copy.x, copy.weight, copy.y);
    }
    cudnn.choose();
    cudnn.run(0);
    if (direction == Direction::forward)
      check_against_host(r.name + ", cuDNN's result", copies[0].y, host.y, number);
    else if (direction == Direction::backward_input)
      check_against_host(r.name + ", cuDNN's gradient of x", copies[0].x, host.gradients[0], number);
    else
      check_against_host(r.name + ", cuDNN's gradient of the weight",
                         cudnn.weight_from_cudnn(copies[0].weight.to(kCpu).to(Dtype::f32)), host.gradients[1],
                         number);
    time_cuda(state, copies.size(), [&](std::size_t k) { cudnn.run(k); });
    report(state, layer, r.operation.flops, bytes);
    state.SetLabel(cudnn.choice());
  }
}

// As many rows of the product as keep its larger factor below 2 GB; the time is that of all.
void run_gemm_cuda(benchmark::State& state, const Layer& layer, std::int64_t batch, Number number) {
  check_usable(kCuda);
  const std::int64_t pixels = batch * layer.h * layer.w, depth = layer.taps * layer.taps * layer.channels;
  const std::int64_t m = std::min<std::int64_t>(pixels, (std::int64_t{1} << 29) / depth);
  if constexpr (ATROUS_WITH_CUDA) {
    CublasGemm gemm(m, layer.filters, depth, number, kCuda);
    const Timing timing = time_on_device(kCuda, 1, [&](std::size_t) { gemm.run(); });
    for (auto _ : state) state.SetIterationTime(timing.seconds * double(pixels) / double(m));
    state.counters["spread"] = timing.spread;
  }
  report(state, layer, 2.0 * double(pixels) * double(depth * layer.filters), 0);
}

void run_copy_cuda(benchmark::State& state, const Layer& layer, std::int64_t batch, Number number) {
  check_usable(kCuda);
  const double bytes = bytes_in(number, ready(layer, batch).operation.bytes);
  const auto n = std::int64_t(bytes / 8);  // half is read, half is written
  std::vector<std::pair<Tensor, Tensor>> copies(copies_for(bytes));
  for (auto& [from, to] : copies) {
    from = Tensor::full({n}, 1.0, Dtype::f32, kCuda);
    to = Tensor::empty({n}, Dtype::f32, kCuda);
  }
  time_cuda(state, copies.size(), [&](std::size_t k) { copies[k].second.copy_from(copies[k].first); });
  report(state, layer, 0, 8.0 * double(n));
}

template <class Body>
void add_row(const std::string& name, Body body) {
  add(name, std::move(body))->UseManualTime()->Iterations(1);
}

}  // namespace

// Rows of a layer and a batch stand together: its inputs are made and checked once.
void register_layers_cuda() {
  for (const Layer& layer : layers()) {
    if (layer.kind == Kind::upsample_argmax)
      continue;  // labels are not held against the CPU's by a tolerance
    for (const std::int64_t batch : {1, 8})
      for (const Number number : {Number::f32, Number::tf32, Number::bf16}) {
        const bool products = layer.kind == Kind::conv || layer.kind == Kind::transposed;
        if (number == Number::tf32 && !products && layer.kind != Kind::separable && layer.kind != Kind::aspp)
          continue;
        const std::string name = row(layer, batch), end = std::string("/cuda/") + name_of(number);
        if (products)
          add_row("yardstick/gemm/" + name + end,
                  [&layer, batch, number](benchmark::State& s) { run_gemm_cuda(s, layer, batch, number); });
        if (number != Number::tf32)
          add_row("yardstick/copy/" + name + end,
                  [&layer, batch, number](benchmark::State& s) { run_copy_cuda(s, layer, batch, number); });
        for (const Direction d : directions(layer.kind)) {
          add_row(name + "/" + name_of(d) + end, [&layer, batch, d, number](benchmark::State& s) {
            run_layer_cuda(s, layer, batch, d, number);
          });
          if (layer.kind == Kind::conv && layer.taps > 1 && batch == 8 && number == Number::bf16 &&
              d == Direction::forward)
            add_row(name + "/" + name_of(d) + "/cuda-mma/" + name_of(number),
                    [&layer, batch, d, number](benchmark::State& s) {
                      const WithoutWgmma mma_sync;
                      run_layer_cuda(s, layer, batch, d, number);
                    });
          if (kHasCudnn && in_cudnn(layer))
            add_row(name + "/" + name_of(d) + "/cudnn/" + name_of(number),
                    [&layer, batch, d, number](benchmark::State& s) {
                      run_layer_cudnn(s, layer, batch, d, number);
                    });
        }
      }
  }
}

}  // namespace atrous::bench
