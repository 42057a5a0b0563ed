#include "bench/support/yardstick_cuda.h"

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "atrous/core/cuda_check.h"
#include "atrous/core/random.h"
#include "atrous/core/stream.h"
#include "atrous/core/tensor.h"

namespace atrous::bench {
namespace {

cudaStream_t stream_of(Device device) { return static_cast<cudaStream_t>(current_stream(device).handle); }

// Random numbers, the same block again and again: a matrix product is faster on zeros than on what a network
// holds.
Tensor random_on_device(std::int64_t count, Dtype dtype, Device device) {
  Tensor t = Tensor::empty({count}, dtype, device);
  Random random(7);
  Tensor block = Tensor::empty({std::min<std::int64_t>(count, 1 << 20)});
  for (float& v : block.span<float>()) v = float(random.uniform(-1, 1));
  block = block.to(dtype).to(device);
  auto* to = static_cast<char*>(t.data());
  for (std::int64_t done = 0; done < t.bytes(); done += block.bytes())
    ATROUS_CUDA_CHECK("bench", cudaMemcpyAsync(to + done, block.data(),
                                               std::size_t(std::min(block.bytes(), t.bytes() - done)),
                                               cudaMemcpyDeviceToDevice, stream_of(device)));
  synchronize(device);
  return t;
}

}  // namespace

struct CublasGemm::State {
  std::int64_t m, n, k;
  Number number;
  Device device;
  Tensor a, b, c;
  cublasHandle_t handle = nullptr;
};

CublasGemm::CublasGemm(std::int64_t m, std::int64_t n, std::int64_t k, Number number, Device device)
    : state_(new State{m, n, k, number, device, random_on_device(m * k, storage_of(number), device),
                       random_on_device(k * n, storage_of(number), device),
                       Tensor::empty({m, n}, storage_of(number), device)}) {
  ATROUS_CUBLAS_CHECK("bench", cublasCreate(&state_->handle));
}

CublasGemm::~CublasGemm() {
  if (state_->handle) cublasDestroy(state_->handle);
}

void CublasGemm::run() {
  State& s = *state_;
  const cudaDataType_t type = s.number == Number::bf16 ? CUDA_R_16BF : CUDA_R_32F;
  const cublasComputeType_t compute =
      s.number == Number::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  const float one = 1, zero = 0;
  ATROUS_CUBLAS_CHECK("bench", cublasSetStream(s.handle, stream_of(s.device)));
  // Column-major, the product is c' = b' a'.
  ATROUS_CUBLAS_CHECK("bench", cublasGemmEx(s.handle, CUBLAS_OP_N, CUBLAS_OP_N, int(s.n), int(s.m), int(s.k),
                                            &one, s.b.data(), type, int(s.n), s.a.data(), type, int(s.k),
                                            &zero, s.c.data(), type, int(s.n), compute, CUBLAS_GEMM_DEFAULT));
}

struct BusyWork::Shared {
  explicit Shared(Device device) : gemm(1024, 1024, 1024, Number::f32, device) {
    Event start(device), stop(device);
    gemm.run();
    start.record(current_stream(device));
    for (int i = 0; i < 10; ++i) gemm.run();
    stop.record(current_stream(device));
    seconds = std::max(start.seconds_until(stop) / 10, 1e-6);
  }
  CublasGemm gemm;
  double seconds = 0;  // of one product
};

BusyWork::BusyWork(Device device)
    : shared_([&]() -> Shared& {
        static auto& all = *new std::map<int, Shared>;  // outlives the runtime's own end
        return all.try_emplace(device.index, device).first->second;
      }()) {}

void BusyWork::run(double seconds) {
  const int times = int(std::ceil(seconds / shared_.seconds));
  for (int i = 0; i < times; ++i) shared_.gemm.run();
}

}  // namespace atrous::bench
