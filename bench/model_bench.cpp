#include <benchmark/benchmark.h>

#include "atrous/autograd/graph.h"
#include "atrous/autograd/resize.h"
#include "atrous/autograd/softmax.h"
#include "atrous/core/memory.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/layers/sgd.h"
#include "atrous/models/registry.h"
#include "bench/support/benches.h"

// Whole networks: model/<name>h513w513k21b1t2 is one forward pass to full-size logits in evaluation mode,
// without a record; train/<name>h257w257k21b4t2 one step: forward, upsampling, cross entropy, backward, SGD.
// Peers: bench/peer_torch.py.

namespace atrous::bench {
namespace {

struct Network {
  const char* model;
  std::int64_t size, classes, batch;
};

Tensor random_image(const Network& n) {
  Random random(1);
  Tensor x = Tensor::empty({n.batch, n.size, n.size, 3});
  for (float& v : x.span<float>()) v = float(random.uniform(-1, 1));
  return x;
}

std::unique_ptr<models::Model> make(const Network& n) {
  return models::make(n.model, {.classes = n.classes});
}

Variable full_size(models::Model& model, const Variable& x) {
  return resize_bilinear(model.forward(x), {.out_h = x.dim(1), .out_w = x.dim(2), .align_corners = true});
}

void finish(benchmark::State& state) {
  state.counters["peak_MB"] = double(memory_stats().peak) / 1e6;
  trim_memory();
}

void forward(benchmark::State& state, const Network& n, int team) {
  set_threads(team);
  const auto model = make(n);
  model->eval();
  const NoGrad no_grad;
  const Variable x(random_image(n));
  reset_memory_peak();
  for (auto _ : state) benchmark::DoNotOptimize(full_size(*model, x).value().data());
  finish(state);
}

void train(benchmark::State& state, const Network& n, int team) {
  set_threads(team);
  const auto model = make(n);
  layers::Sgd sgd(model->named_parameters(), {.lr = 0.001, .momentum = 0.9, .weight_decay = 4e-5});
  const Variable x(random_image(n));
  Tensor labels = Tensor::empty({n.batch, n.size, n.size}, Dtype::u8);
  Random random(2);
  for (std::uint8_t& v : labels.span<std::uint8_t>()) v = std::uint8_t(random.below(n.classes));
  reset_memory_peak();
  for (auto _ : state) {
    const Variable loss = softmax_cross_entropy(full_size(*model, x), labels);
    loss.backward();
    sgd.step();
    model->zero_grad();
    benchmark::DoNotOptimize(loss.item());
  }
  finish(state);
}

using Body = void (*)(benchmark::State&, const Network&, int);

void add(const std::string& kind, const Network& n, Body body) {
  for (const int team : {1, 2}) {
    const std::string side = std::to_string(n.size);
    const std::string name = kind + "/" + n.model + "h" + side + "w" + side + "k" +
                             std::to_string(n.classes) + "b" + std::to_string(n.batch) + "t" +
                             std::to_string(team);
    benchmark::RegisterBenchmark(name.c_str(),
                                 [=](benchmark::State& state) {
                                   try {
                                     body(state, n, team);
                                   } catch (const std::exception& error) {
                                     state.SkipWithError(error.what());
                                   }
                                 })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  }
}

}  // namespace

void register_models() {
  for (const char* model : {"deeplab_v3plus_mobilenet_v2", "deeplab_v3_mobilenet_v2",
                            "deeplab_v3plus_resnet50", "deeplab_v3_resnet50"}) {
    add("model", {model, 513, 21, 1}, forward);
    add("train", {model, 257, 21, 4}, train);
  }
  add("train", {"deeplab_v3plus_mobilenet_v2", 241, 11, 4}, train);
}

}  // namespace atrous::bench
