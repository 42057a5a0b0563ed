#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "tests/support/cuda_emulator/sanitizer.h"
#include "tests/support/cuda_emulator/state.h"

// Shared memory of a block: 256 KiB between two pages that fault. Static arrays are laid out from the start
// as the kernel comes to them, with gaps in between; dynamic memory ends at the end, so that one byte too
// many faults. Both are full of NaN bits when a block starts.

namespace atrous::emu {
namespace {

constexpr std::size_t kPage = 4096, kGap = 64;
const char* g_low = nullptr;  // of all blocks' shared memory
const char* g_high = nullptr;

std::size_t rounded(std::size_t bytes) { return (bytes + 127) / 128 * 128; }
char* dynamic_begin(const Block& block) { return block.shared + kSharedBytes - rounded(block.dynamic_bytes); }

}  // namespace

char* reserve_shared() {
  void* memory =
      mmap(nullptr, kSharedBytes + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  char* data = static_cast<char*>(memory) + kPage;
  mprotect(data, kSharedBytes, PROT_READ | PROT_WRITE);
  g_low = g_low ? std::min<const char*>(g_low, data) : data;
  g_high = std::max<const char*>(g_high, data + kSharedBytes);
  return data;
}

void release_shared(char* memory) {
  unpoison(memory, kSharedBytes);
  munmap(memory - kPage, kSharedBytes + 2 * kPage);
}

void start_shared(Block& block) {
  block.arrays.clear();
  block.mbarriers.clear();
  block.static_bytes = 0;
  clear_pending_copies(block);
  poison(block.shared, kSharedBytes);
  unpoison(dynamic_begin(block), block.dynamic_bytes);
  std::memset(dynamic_begin(block), 0xff, block.dynamic_bytes);
}

void* static_shared(const void* site, std::size_t bytes, std::size_t align, const char* name) {
  Block& block = *g_current->block;
  std::size_t total = bytes;
  for (const SharedArray& array : block.arrays) {
    if (array.site == site) return array.data;
    total += array.bytes;
  }
  if (total > g_config.static_shared_limit || total + block.dynamic_bytes > g_config.shared_limit) {
    device_fail("shared array %s: %zu bytes of static shared memory are over the limit", name, total);
    abandon_launch(cudaErrorLaunchFailure);
  }
  align = std::max<std::size_t>(align, 16);
  block.static_bytes = (block.static_bytes + align - 1) / align * align;
  char* data = block.shared + block.static_bytes;
  unpoison(data, bytes);
  std::memset(data, 0xff, bytes);
  block.arrays.push_back({site, data, bytes});
  block.static_bytes += bytes + kGap;
  return data;
}

void* dynamic_shared() { return dynamic_begin(*g_current->block); }

bool inside_shared(const Block& block, const void* p, std::size_t bytes) {
  const auto* at = static_cast<const char*>(p);
  const char* dynamic = dynamic_begin(block);
  if (at >= dynamic && at + bytes <= dynamic + block.dynamic_bytes) return true;
  return std::any_of(block.arrays.begin(), block.arrays.end(),
                     [=](const SharedArray& a) { return at >= a.data && at + bytes <= a.data + a.bytes; });
}

bool is_shared(const void* p) { return p >= g_low && p < g_high; }

void require_shared(const void* p, unsigned bytes, unsigned align, const char* what) {
  const auto* at = static_cast<const char*>(p);
  const Block& block = *g_current->block;
  if (at < block.shared || at + bytes > block.shared + kSharedBytes)
    device_fail("%s: the address is not in shared memory", what);
  else if (reinterpret_cast<std::uintptr_t>(p) % align)
    device_fail("%s: the address is not aligned to %u bytes", what, align);
}

}  // namespace atrous::emu
