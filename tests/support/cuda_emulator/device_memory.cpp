#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>

#include "tests/support/cuda_emulator/sanitizer.h"
#include "tests/support/cuda_emulator/state.h"

// Device memory: a range of addresses of its own. Each allocation ends (up to 256 bytes) at a page that
// faults, starts full of NaN bits, and its addresses are never used again, so that access after cudaFree
// faults too.

namespace atrous::emu {
namespace {

constexpr std::size_t kPage = 4096, kRange = std::size_t(1) << 40, kGranule = 256;
char* g_range = nullptr;
std::size_t g_used = kPage;  // of the range
std::size_t g_live_bytes = 0;
std::uint64_t g_number = 0, g_version = 0;
std::map<const char*, Allocation> g_allocations;  // by first byte
std::map<const char*, std::size_t> g_pinned;      // host memory of cudaHostAlloc
int g_open = 0;

void protect(const Allocation& allocation, bool open) {
  mprotect(allocation.pages, allocation.pages_bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

}  // namespace

DeviceMemoryOpen::DeviceMemoryOpen() {
  if (g_open++ == 0 && g_config.protect_device_memory)
    for (const auto& [at, allocation] : g_allocations) protect(allocation, true);
}
DeviceMemoryOpen::~DeviceMemoryOpen() {
  if (--g_open == 0 && g_config.protect_device_memory)
    for (const auto& [at, allocation] : g_allocations) protect(allocation, false);
}

bool is_device(const void* p) {
  return g_range && std::size_t(static_cast<const char*>(p) - g_range) < kRange;
}

Allocation* find_allocation(const void* p) {
  auto after = g_allocations.upper_bound(static_cast<const char*>(p));
  return after == g_allocations.begin() ? nullptr : &std::prev(after)->second;
}

std::uint64_t allocation_version() { return g_version; }

bool inside_device(const void* p, std::size_t bytes) {
  const Allocation* allocation = find_allocation(p);
  const auto* at = static_cast<const char*>(p);
  return allocation && at >= allocation->data && at + bytes <= allocation->data + allocation->bytes;
}

void mark_initialised(const void* p, std::size_t bytes) {
  Allocation* allocation = find_allocation(p);
  if (!allocation || !allocation->initialised || !inside_device(p, bytes)) return;
  std::memset(&allocation->initialised[std::size_t(static_cast<const char*>(p) - allocation->data)], 1,
              bytes);
}

bool is_pinned(const void* p, std::size_t bytes) {
  auto after = g_pinned.upper_bound(static_cast<const char*>(p));
  if (after == g_pinned.begin()) return false;
  const auto& [begin, size] = *std::prev(after);
  return static_cast<const char*>(p) + bytes <= begin + size;
}

}  // namespace atrous::emu

using namespace atrous::emu;  // NOLINT: what follows are CUDA's names

cudaError_t cudaMallocBytes(void** p, std::size_t bytes) {
  initialise();
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (!g_range) {
    void* range = mmap(nullptr, kRange, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) throw std::bad_alloc();
    g_range = static_cast<char*>(range);
  }
  const std::size_t user = (bytes + kGranule - 1) / kGranule * kGranule,
                    pages = (user + kPage - 1) / kPage * kPage;
  if (g_live_bytes + user > g_config.device_bytes || g_used + pages + kPage > kRange)
    return failed(cudaErrorMemoryAllocation);
  Allocation allocation{};
  allocation.pages = g_range + g_used;
  allocation.pages_bytes = pages;
  allocation.data = allocation.pages + (pages - user);
  allocation.bytes = bytes;
  allocation.number = ++g_number;
  g_used += pages + kPage;
  g_live_bytes += user;
  protect(allocation, true);
  unpoison(allocation.pages, pages);
  std::memset(allocation.pages, 0xff, pages);
  if (g_checked) {
    allocation.initialised.reset(static_cast<std::uint8_t*>(std::calloc(bytes, 1)));
    allocation.cells.reset(static_cast<Cell*>(std::calloc(bytes / 4 + 1, sizeof(Cell))));
    if (!allocation.initialised || !allocation.cells) throw std::bad_alloc();
  }
  poison(allocation.pages, pages);
  unpoison(allocation.data, bytes);
  if (g_config.protect_device_memory && g_open == 0) protect(allocation, false);
  *p = allocation.data;
  ++g_version;
  g_allocations.emplace(allocation.data, std::move(allocation));
  return cudaSuccess;
}

cudaError_t cudaFree(void* p) {
  if (!p) return cudaSuccess;
  finish_all_streams();
  const auto found = g_allocations.find(static_cast<const char*>(p));
  if (found == g_allocations.end()) return failed(cudaErrorInvalidDevicePointer);
  const Allocation& allocation = found->second;
  g_live_bytes -= (allocation.bytes + kGranule - 1) / kGranule * kGranule;
  protect(allocation, false);
  madvise(allocation.pages, allocation.pages_bytes, MADV_DONTNEED);
  ++g_version;
  g_allocations.erase(found);
  return cudaSuccess;
}

cudaError_t cudaHostAllocBytes(void** p, std::size_t bytes) {
  *p = std::malloc(bytes);
  if (!*p) return failed(cudaErrorMemoryAllocation);
  g_pinned.emplace(static_cast<const char*>(*p), bytes);
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* p) {
  if (!p) return cudaSuccess;
  finish_all_streams();
  if (g_pinned.erase(static_cast<const char*>(p)) == 0) return failed(cudaErrorInvalidValue);
  std::free(p);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  initialise();
  *total = g_config.device_bytes;
  *free = g_config.device_bytes - g_live_bytes;
  return cudaSuccess;
}
