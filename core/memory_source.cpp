#include "atrous/core/memory_source.h"

#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "atrous/core/config.h"
#include "atrous/core/cuda_backend.h"
#include "atrous/core/stream.h"

namespace atrous::detail {
namespace {

class CpuSource final : public MemorySource {
 public:
  void* allocate(std::size_t bytes) override {
    void* block = nullptr;
    return posix_memalign(&block, kAlign, bytes) == 0 ? block : nullptr;
  }
  void release(void* block) noexcept override { std::free(block); }
  void fill(void* to, unsigned char value, std::size_t bytes) override { std::memset(to, value, bytes); }
  void read(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }
};

// Reached in builds with CUDA alone: elsewhere device_count() is 0.
class CudaSource final : public MemorySource {
 public:
  explicit CudaSource(Device device) : device_(device) {}
  void* allocate(std::size_t bytes) override {
    if constexpr (ATROUS_WITH_CUDA) return cuda_backend::allocate(bytes, device_.index);
    return nullptr;
  }
  void release(void* block) noexcept override {
    if constexpr (ATROUS_WITH_CUDA) cuda_backend::release(block, device_.index);
  }
  void fill(void* to, unsigned char value, std::size_t bytes) override {
    if constexpr (ATROUS_WITH_CUDA) cuda_backend::fill_bytes(to, value, bytes, current_stream(device_));
  }
  void read(void* to, const void* from, std::size_t bytes) override {
    if constexpr (ATROUS_WITH_CUDA) cuda_backend::copy_out(to, from, bytes, current_stream(device_));
  }

 private:
  Device device_;
};

class ReservedSource final : public MemorySource {
 public:
  void* allocate(std::size_t bytes) override {
    void* block =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block == MAP_FAILED) return nullptr;
    sizes_[block] = bytes;
    return block;
  }
  void release(void* block) noexcept override {
    const auto found = sizes_.find(block);
    munmap(block, found->second);
    sizes_.erase(found);
  }
  void fill(void* to, unsigned char value, std::size_t bytes) override { std::memset(to, value, bytes); }
  void read(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }

 private:
  std::unordered_map<void*, std::size_t> sizes_;
};

}  // namespace

std::unique_ptr<MemorySource> host_memory() { return std::make_unique<CpuSource>(); }
std::unique_ptr<MemorySource> cuda_memory(Device device) { return std::make_unique<CudaSource>(device); }
std::unique_ptr<MemorySource> reserved_memory() { return std::make_unique<ReservedSource>(); }

std::size_t machine_memory() {
  struct sysinfo info;
  if (sysinfo(&info) != 0) return kAddresses;
  return (std::size_t(info.totalram) + std::size_t(info.totalswap)) * info.mem_unit;
}

}  // namespace atrous::detail
