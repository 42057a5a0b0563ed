#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include "atrous/autograd/graph.h"
#include "atrous/autograd/resize.h"
#include "atrous/autograd/softmax.h"
#include "atrous/core/memory.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/layers/sgd.h"
#include "atrous/models/registry.h"
#include "bench/support/benches.h"

// Whole networks: model/<name>h513w513k21b1t2 is one forward pass to full-size logits, prepared for
// inference, without a record; train/<name>h257w257k21b4t2 one step: forward, upsampling, cross entropy,
// backward, SGD. On CUDA, without a number of threads: model/<name>h513w513k21b1/cuda/f32, timed by the
// host's clock from start to the device's end, as a user waits for it. Peers: bench/compare.py.

namespace atrous::bench {
namespace {

struct Network {
  const char* model;
  std::int64_t size, classes, batch;
};

struct Place {
  Device device;
  int team;  // threads
};

Tensor random_image(const Network& n) {
  Random random(1);
  Tensor x = Tensor::empty({n.batch, n.size, n.size, 3});
  for (float& v : x.span<float>()) v = float(random.uniform(-1, 1));
  return x;
}

std::unique_ptr<models::Model> make(const Network& n, const Place& place) {
  set_threads(place.team);
  check_usable(place.device);
  auto model = models::make(n.model, {.classes = n.classes, .auxiliary = false});
  model->to(place.device);
  return model;
}

Variable full_size(models::Model& model, const Variable& x) {
  return resize_bilinear(model.forward(x), {.out_h = x.dim(1), .out_w = x.dim(2), .align_corners = true});
}

// Runs once to warm up, then for the clock; says what memory it took.
template <class Step>
void run(benchmark::State& state, Device device, const Step& step) {
  reset_memory_peak(device);
  step();
  synchronize(device);
  for (auto _ : state) {
    step();
    synchronize(device);
  }
  state.counters["peak_MB"] = double(memory_stats(device).peak) / 1e6;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  state.counters["process_MB"] = double(usage.ru_maxrss) / 1024;  // of all rows so far
  trim_memory(device);
}

void forward(benchmark::State& state, const Network& n, const Place& place) {
  const auto model = make(n, place);
  const layers::Summary summary = layers::summarise(*model, {n.batch, n.size, n.size, 3});
  model->prepare_inference({.release_weights = true});
  const NoGrad no_grad;
  const Variable x(random_image(n).to(place.device));
  run(state, place.device, [&] { benchmark::DoNotOptimize(full_size(*model, x).value().data()); });
  state.counters["FLOP/s"] =
      benchmark::Counter(2.0 * double(summary.macs()), benchmark::Counter::kIsIterationInvariantRate);
}

void train(benchmark::State& state, const Network& n, const Place& place) {
  const auto model = make(n, place);
  layers::Sgd sgd(model->named_parameters(), {.lr = 0.001, .momentum = 0.9, .weight_decay = 4e-5});
  const Variable x(random_image(n).to(place.device));
  Tensor labels = Tensor::empty({n.batch, n.size, n.size}, Dtype::u8);
  Random random(2);
  for (std::uint8_t& v : labels.span<std::uint8_t>()) v = std::uint8_t(random.below(n.classes));
  labels = labels.to(place.device);
  run(state, place.device, [&] {
    const Variable loss = softmax_cross_entropy(full_size(*model, x), labels);
    loss.backward();
    sgd.step();
    model->zero_grad();
    benchmark::DoNotOptimize(loss.item());
  });
}

using Body = void (*)(benchmark::State&, const Network&, const Place&);

void add(const std::string& name, const Network& n, const Place& place, Body body) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [=](benchmark::State& state) {
                                 try {
                                   body(state, n, place);
                                 } catch (const std::exception& error) {
                                   state.SkipWithError(error.what());
                                 }
                               })
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

std::string row(const std::string& kind, const Network& n) {
  const std::string side = std::to_string(n.size);
  return kind + "/" + n.model + "h" + side + "w" + side + "k" + std::to_string(n.classes) + "b" +
         std::to_string(n.batch);
}

void add_cpu(const std::string& kind, const Network& n, Body body) {
  for (const int team : {1, 2}) add(row(kind, n) + "t" + std::to_string(team), n, {kCpu, team}, body);
}
void add_cuda(const std::string& kind, const Network& n, Body body) {
  add(row(kind, n) + "/cuda/f32", n, {{DeviceType::cuda, 0}, processors()}, body);
}

constexpr const char* kModels[] = {"deeplab_v3plus_mobilenet_v2", "deeplab_v3_mobilenet_v2",
                                   "deeplab_v3plus_resnet50", "deeplab_v3_resnet50"};
// More that bench/compare.py has peers for.
constexpr const char* kModelsOfPeers[] = {"deeplab_v3plus_xception_65", "deeplab_v3_resnet50:torchvision",
                                          "deeplab_v3_resnet101:torchvision",
                                          "deeplab_v3_mobilenet_v3_large:torchvision"};

}  // namespace

void register_models(const Devices& devices) {
  if (devices.cpu) {
    for (const char* model : kModels) {
      add_cpu("model", {model, 513, 21, 1}, forward);
      add_cpu("train", {model, 257, 21, 4}, train);
    }
    for (const char* model : kModelsOfPeers) add_cpu("model", {model, 513, 21, 1}, forward);
    add_cpu("train", {"deeplab_v3plus_mobilenet_v2", 241, 11, 4}, train);
    add_cpu("train", {"deeplab_v3_resnet50:torchvision", 257, 21, 2}, train);
  }
  if (devices.cuda)
    for (const char* model : kModels) {
      for (const std::int64_t batch : {1, 8}) add_cuda("model", {model, 513, 21, batch}, forward);
      add_cuda("train", {model, 257, 21, 4}, train);
      add_cuda("train", {model, 513, 21, 8}, train);
    }
}

}  // namespace atrous::bench
