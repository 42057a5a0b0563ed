#include "bench/support/device_timer.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "atrous/core/cuda_check.h"
#include "atrous/core/stream.h"
#include "bench/support/yardstick_cuda.h"

namespace atrous::bench {
namespace {

constexpr int kMostSamples = 60, kFewestSamples = 7;
constexpr double kEnough = 0.06;   // seconds of measured time
constexpr double kGrain = 200e-6;  // of one sample: events resolve about a microsecond
constexpr std::size_t kMostCopies = 1024;

double host_clock() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double at(std::vector<double>& sorted, double share) {
  return sorted[std::min(sorted.size() - 1, std::size_t(share * double(sorted.size())))];
}

}  // namespace

std::size_t copies_past_l2(Device device, double bytes) {
  int l2 = 0;
  ATROUS_CUDA_CHECK("bench", cudaDeviceGetAttribute(&l2, cudaDevAttrL2CacheSize, device.index));
  return std::clamp<std::size_t>(std::size_t(std::ceil(3.0 * l2 / std::max(bytes, 1.0))), 1, kMostCopies);
}

Timing time_on_device(Device device, std::size_t copies, const std::function<void(std::size_t)>& body) {
  const Stream stream = current_stream(device);
  Event start(device), stop(device);
  for (std::size_t k = 0; k < copies; ++k) body(k);
  synchronize(device);

  // A second look at one round of a few says what a call costs the host and the device.
  std::size_t next = 0;
  const auto call = [&](int times) {
    for (int i = 0; i < times; ++i) body(next++ % copies);
  };
  start.record(stream);
  const double before = host_clock();
  call(4);
  const double host = (host_clock() - before) / 4;
  stop.record(stream);
  const double rough = start.seconds_until(stop) / 4;
  const int calls = int(std::clamp(kGrain / std::max(rough, 1e-7), 1.0, 8.0));
  const double head_start = std::min(2 * host * calls + 30e-6, 5e-3);

  BusyWork busy(device);
  std::vector<double> samples;
  for (double total = 0;
       int(samples.size()) < kFewestSamples || (total < kEnough && int(samples.size()) < kMostSamples);) {
    busy.run(head_start);
    start.record(stream);
    call(calls);
    stop.record(stream);
    samples.push_back(start.seconds_until(stop) / calls);
    total += samples.back() * calls;
  }
  std::sort(samples.begin(), samples.end());
  const double median = at(samples, 0.5);
  return {median, (at(samples, 0.75) - at(samples, 0.25)) / median};
}

}  // namespace atrous::bench
