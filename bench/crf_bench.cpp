#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "atrous/core/error.h"
#include "atrous/core/memory.h"
#include "atrous/core/parallel.h"
#include "atrous/models/dense_crf.h"
#include "bench/support/benches.h"

// The dense CRF with the parameters of DeepLab v2 on a synthetic photograph: crf/h375w500c21i10t2 is all of
// it for an image of 375x500 pixels, 21 classes, 10 iterations and 2 threads; crf_build/... what is done once
// an image, crf_iterate/... the iterations. On CUDA crf/h375w500c21i10/cuda/f32, by the host's clock from
// start to the device's end. Peer: bench/peer_pydensecrf.py, on the same photograph.

namespace atrous::bench {
namespace {

struct Field {
  std::int64_t height, width, classes, iterations;
};
struct Place {
  Device device;
  int team;  // threads
};

// Patches of colour with texture and soft shadows; peer_pydensecrf.py has the same formula.
Tensor photograph(const Field& f) {
  Tensor image = Tensor::empty({1, f.height, f.width, 3}, Dtype::u8);
  for (std::int64_t y = 0; y < f.height; ++y)
    for (std::int64_t x = 0; x < f.width; ++x)
      for (std::int64_t c = 0; c < 3; ++c) {
        const double patch = 40 * double((x / 71 + 2 * (y / 53) + c) % 4);
        const double shadow = 20 * std::sin(0.02 * double(x) + double(c)) * std::cos(0.03 * double(y));
        const auto grain = double((x * 7919 + y * 104729 + c * 1299709) % 9973 % 12);
        image.span<std::uint8_t>()[(y * f.width + x) * 3 + c] =
            std::uint8_t(60 + patch + std::floor(shadow) + grain);
      }
  return image;
}

// Energies that change over some 16 pixels, as those of a network do.
Tensor energies(const Field& f) {
  Tensor logits = Tensor::empty({1, f.height, f.width, f.classes});
  for (std::int64_t i = 0; i < f.height * f.width; ++i)
    for (std::int64_t c = 0; c < f.classes; ++c)
      logits.span<float>()[i * f.classes + c] = float(3 * std::sin(0.05 * double(i % f.width) + double(c)) *
                                                      std::cos(0.04 * double(i / f.width) - 2 * double(c)));
  return models::unary_from_logits(logits);
}

models::DenseCrf build(const Tensor& unary, const Tensor& image, const models::CrfParameters& p) {
  models::DenseCrf crf(unary);
  crf.add_gaussian({p.gaussian_sigma, p.gaussian_sigma}, models::Compatibility::potts(p.gaussian_weight));
  crf.add_bilateral(image, {p.bilateral_sigma_xy, p.bilateral_sigma_xy}, {p.bilateral_sigma_rgb},
                    models::Compatibility::potts(p.bilateral_weight));
  return crf;
}

// Once before anything is timed: a small field in floats on the device against doubles on the host, which
// take other kernels.
void check(Device device, std::int64_t classes) {
  const Field f{60, 80, classes, 10};
  const models::CrfParameters p = models::crf_preset("v2");
  const Tensor image = photograph(f), unary = energies(f);
  models::DenseCrf floats = build(unary.to(device), image, p),
                   doubles = build(unary.to(Dtype::f64), image, p);
  const Tensor q = floats.inference({.iterations = f.iterations}).to(kCpu),
               expected = doubles.inference({.iterations = f.iterations});
  double sum = 0;
  for (std::int64_t i = 0; i < q.numel(); ++i)
    sum += std::abs(double(q.span<float>()[i]) - expected.span<double>()[i]);
  const double mean = sum / double(q.numel());
  if (!(mean < 1e-5)) fail<ValueError>("crf", "marginals depart from doubles by ", mean, " on average");
}

enum class Part { all, build, iterate };

void run(benchmark::State& state, const Field& f, const Place& place, Part part) {
  set_threads(place.team);
  check_usable(place.device);
  check(place.device, f.classes);
  trim_memory(place.device);
  const Tensor image = photograph(f), unary = energies(f).to(place.device);
  const models::CrfParameters p = models::crf_preset("v2");
  reset_memory_peak(place.device);
  models::DenseCrf crf = build(unary, image, p);
  crf.inference({.iterations = f.iterations});
  synchronize(place.device);
  state.counters["peak_MB"] = double(memory_stats(place.device).peak) / 1e6;  // photograph and unary included
  state.counters["held_MB"] = double(crf.bytes()) / 1e6;                      // between iterations
  state.counters["vertices"] = double(crf.vertices(0) + crf.vertices(1));
  for (auto _ : state) {
    if (part != Part::iterate) crf = build(unary, image, p);
    if (part != Part::build) benchmark::DoNotOptimize(crf.inference({.iterations = f.iterations}).data());
    synchronize(place.device);
  }
  if (part == Part::iterate)
    state.counters["iteration"] = benchmark::Counter(
        double(f.iterations), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  trim_memory(place.device);
}

void add(const std::string& name, const Field& f, const Place& place, Part part) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [=](benchmark::State& state) {
                                 try {
                                   run(state, f, place, part);
                                 } catch (const std::exception& error) {
                                   state.SkipWithError(error.what());
                                 }
                               })
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

}  // namespace

void register_crf(const Devices& devices) {
  for (const Field& f : {Field{375, 500, 21, 10}, {513, 513, 21, 10}, {1024, 2048, 19, 10}})
    for (const auto& [kind, part] :
         {std::pair{"crf", Part::all}, {"crf_build", Part::build}, {"crf_iterate", Part::iterate}}) {
      const std::string key = std::string(kind) + "/h" + std::to_string(f.height) + "w" +
                              std::to_string(f.width) + "c" + std::to_string(f.classes) + "i" +
                              std::to_string(f.iterations);
      if (devices.cpu)
        for (const int team : {1, 2}) add(key + "t" + std::to_string(team), f, {kCpu, team}, part);
      if (devices.cuda) add(key + "/cuda/f32", f, {{DeviceType::cuda, 0}, processors()}, part);
    }
}

}  // namespace atrous::bench
