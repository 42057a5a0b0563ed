#include "atrous/core/cuda_backend.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "atrous/core/cuda_check.h"

namespace atrous {
namespace detail {

void cuda_failed(const char* op, cudaError_t error, const char* file, int line) {
  fail<CudaError>(op, cudaGetErrorName(error), ": ", cudaGetErrorString(error), ", from ", file, ':', line);
}

void cublas_failed(const char* op, int status, const char* file, int line) {
  fail<CudaError>(op, "cuBLAS status ", status, ", from ", file, ':', line);
}

void check_launch(const char* kernel, cudaStream_t stream, const char* file, int line) {
  static const bool wait = [] {
    const char* text = std::getenv("ATROUS_SYNC_LAUNCHES");
    return text && std::string(text) == "1";
  }();
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess)
    cuda_failed(kernel, error, file, line);
  if (!wait) return;
  if (const cudaError_t error = cudaStreamSynchronize(stream); error != cudaSuccess)
    cuda_failed(kernel, error, file, line);
}

void use_device(int index) {
  static thread_local int current = -1;
  if (index == current) return;
  ATROUS_CUDA_CHECK("cuda", cudaSetDevice(index));
  current = index;
}

}  // namespace detail

namespace cuda_backend {
namespace {

cudaStream_t handle(Stream stream) {
  detail::use_device(stream.device.index);
  return static_cast<cudaStream_t>(stream.handle);
}

// Pinned buffers of one device between pageable host memory and the device. A buffer is free again when its
// event has been reached, so copies in return while the last ones still run.
class Staging {
 public:
  explicit Staging(int index) {
    detail::use_device(index);
    for (Buffer& buffer : buffers_) {
      ATROUS_CUDA_CHECK("staging", cudaHostAlloc(&buffer.bytes, kBytes, cudaHostAllocDefault));
      ATROUS_CUDA_CHECK("staging", cudaEventCreateWithFlags(&buffer.done, cudaEventDisableTiming));
    }
  }

  void copy_in(char* to, const char* from, std::size_t bytes, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    for (std::size_t at = 0; at < bytes; at += kBytes) {
      const std::size_t part = std::min(kBytes, bytes - at);
      Buffer& buffer = take();
      std::memcpy(buffer.bytes, from + at, part);
      ATROUS_CUDA_CHECK("copy", cudaMemcpyAsync(to + at, buffer.bytes, part, cudaMemcpyHostToDevice, stream));
      ATROUS_CUDA_CHECK("copy", cudaEventRecord(buffer.done, stream));
    }
  }

  // The device fills the buffers ahead of the host, which empties them in order.
  void copy_out(char* to, const char* from, std::size_t bytes, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    std::size_t asked = 0;
    for (std::size_t at = 0; at < bytes; at += kBytes) {
      for (; asked < bytes && asked < at + kBuffers * kBytes; asked += kBytes) {
        Buffer& buffer = take();
        ATROUS_CUDA_CHECK("copy", cudaMemcpyAsync(buffer.bytes, from + asked, std::min(kBytes, bytes - asked),
                                                  cudaMemcpyDeviceToHost, stream));
        ATROUS_CUDA_CHECK("copy", cudaEventRecord(buffer.done, stream));
      }
      // The buffers go round: the one of `at` is as many places back as chunks have been asked for since.
      const std::size_t back = (asked - at + kBytes - 1) / kBytes;
      const Buffer& buffer = buffers_[(next_ + kBuffers - back) % kBuffers];
      ATROUS_CUDA_CHECK("copy", cudaEventSynchronize(buffer.done));
      std::memcpy(to + at, buffer.bytes, std::min(kBytes, bytes - at));
    }
  }

 private:
  static constexpr std::size_t kBuffers = 4, kBytes = std::size_t(4) << 20;
  struct Buffer {
    void* bytes = nullptr;
    cudaEvent_t done = nullptr;
  };

  Buffer& take() {
    Buffer& buffer = buffers_[next_];
    next_ = (next_ + 1) % kBuffers;
    ATROUS_CUDA_CHECK("copy", cudaEventSynchronize(buffer.done));
    return buffer;
  }

  std::mutex mutex_;
  Buffer buffers_[kBuffers];
  std::size_t next_ = 0;
};

// Made at the first copy and never destroyed: the driver may be gone before static objects are.
Staging& staging(int index) {
  static std::mutex mutex;
  static auto* all = new std::map<int, std::unique_ptr<Staging>>;
  const std::lock_guard lock(mutex);
  auto& one = (*all)[index];
  if (!one) one = std::make_unique<Staging>(index);
  return *one;
}

}  // namespace

int device_count(const char** why) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    cudaGetLastError();  // takes the error back: it is not the next launch's
    if (why) *why = cudaGetErrorString(error);
    return 0;
  }
  if (why) *why = "none is visible to this process";
  return count;
}

int capability(int index) {
  int major = 0, minor = 0;
  ATROUS_CUDA_CHECK("device", cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index));
  ATROUS_CUDA_CHECK("device", cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index));
  return 10 * major + minor;
}

const char* device_name(int index) {
  static std::mutex mutex;
  static auto* names = new std::map<int, std::string>;
  const std::lock_guard lock(mutex);
  std::string& name = (*names)[index];
  if (name.empty()) {
    cudaDeviceProp properties;
    ATROUS_CUDA_CHECK("device", cudaGetDeviceProperties(&properties, index));
    name = properties.name;
  }
  return name.c_str();
}

void* allocate(std::size_t bytes, int index) {
  detail::use_device(index);
  void* block = nullptr;
  const cudaError_t error = cudaMalloc(&block, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  if (error != cudaSuccess) detail::cuda_failed("memory", error, __FILE__, __LINE__);
  return block;
}

// A failure here has no one to tell: the process is ending, or the next call fails with the same error.
void release(void* block, int) noexcept { static_cast<void>(cudaFree(block)); }

void fill_bytes(void* to, int value, std::size_t bytes, Stream stream) {
  ATROUS_CUDA_CHECK("fill", cudaMemsetAsync(to, value, bytes, handle(stream)));
}

void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  ATROUS_CUDA_CHECK("copy", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, handle(stream)));
}

void copy_in(void* to, const void* from, std::size_t bytes, Stream stream) {
  staging(stream.device.index)
      .copy_in(static_cast<char*>(to), static_cast<const char*>(from), bytes, handle(stream));
}

void copy_out(void* to, const void* from, std::size_t bytes, Stream stream) {
  staging(stream.device.index)
      .copy_out(static_cast<char*>(to), static_cast<const char*>(from), bytes, handle(stream));
}

void* create_stream(int index) {
  detail::use_device(index);
  cudaStream_t stream = nullptr;
  ATROUS_CUDA_CHECK("stream", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

void destroy_stream(void* stream, int) noexcept {
  static_cast<void>(cudaStreamDestroy(static_cast<cudaStream_t>(stream)));
}

void synchronize_stream(Stream stream) { ATROUS_CUDA_CHECK("stream", cudaStreamSynchronize(handle(stream))); }

void synchronize_device(int index) {
  detail::use_device(index);
  ATROUS_CUDA_CHECK("device", cudaDeviceSynchronize());
}

void* create_event(int index) {
  detail::use_device(index);
  cudaEvent_t event = nullptr;
  ATROUS_CUDA_CHECK("event", cudaEventCreate(&event));
  return event;
}

void destroy_event(void* event, int) noexcept {
  static_cast<void>(cudaEventDestroy(static_cast<cudaEvent_t>(event)));
}

void record_event(void* event, Stream stream) {
  ATROUS_CUDA_CHECK("event", cudaEventRecord(static_cast<cudaEvent_t>(event), handle(stream)));
}

void wait_event(void* event, Stream stream) {
  ATROUS_CUDA_CHECK("event", cudaStreamWaitEvent(handle(stream), static_cast<cudaEvent_t>(event), 0));
}

void synchronize_event(void* event) {
  ATROUS_CUDA_CHECK("event", cudaEventSynchronize(static_cast<cudaEvent_t>(event)));
}

double elapsed(void* from, void* to) {
  float milliseconds = 0;
  ATROUS_CUDA_CHECK("event", cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(from),
                                                  static_cast<cudaEvent_t>(to)));
  return double(milliseconds);
}

}  // namespace cuda_backend
}  // namespace atrous
