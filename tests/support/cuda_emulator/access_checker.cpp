#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "tests/support/cuda_emulator/state.h"

// The checked build calls check_access() for every load and store of a kernel (hooks.cpp). It reports
// accesses outside of allocations and arrays, misaligned ones, reads of bytes that nothing wrote, memory of
// the host and of other threads, bytes that a cp.async is still writing, and races.
//
// A race: two threads touch the same bytes, one of them writes, and nothing orders them. What orders two
// threads: a __syncthreads between the accesses (same block), a warp function between them (same warp), the
// end of the launch. Two atomics do not race.

extern "C" {
extern char __executable_start, _end;  // of the program: constants live there
}

namespace atrous::emu {
namespace {

const char* verb(bool write) { return write ? "write" : "read"; }

// A thread's number: which block, which thread in it.
std::uint32_t number_of(const Fiber& fiber) {
  return std::uint32_t((fiber.block->linear & 0x3fffff) << 10 | fiber.linear);
}

// Whether an earlier access by `other`, made after so many barriers of its block and warp functions of its
// own, comes before what the running thread does now.
bool ordered(std::uint32_t other, std::uint32_t barriers, std::uint32_t syncs) {
  const std::uint32_t self = number_of(*g_current);
  if (other == self) return true;
  if (other >> 10 != self >> 10) return false;
  if (barriers != g_current->block->barriers) return true;
  return other >> 5 == self >> 5 && syncs < g_current->warp_syncs;
}

void check_race(Cell* cells, std::size_t offset, unsigned bytes, bool write, bool atomic,
                std::uint32_t generation, const void* pc, const char* space) {
  const std::uint32_t self = number_of(*g_current), barriers = g_current->block->barriers,
                      syncs = g_current->warp_syncs;
  for (std::size_t at = offset / 4 * 4; at < offset + bytes; at += 4) {
    Cell& cell = cells[at / 4];
    const unsigned low = at < offset ? unsigned(offset - at) : 0,
                   high = unsigned(std::min<std::size_t>(4, offset + bytes - at));
    const auto touched = std::uint8_t(((1u << high) - 1) & ~((1u << low) - 1));
    if (cell.generation != generation) {
      cell = Cell{};
      cell.generation = generation;
    }
    if ((cell.written & touched) && !ordered(cell.writer, cell.writer_barriers, cell.writer_syncs) &&
        !(atomic && cell.atomic))
      fail_at(pc, "race on %s memory: %s after an unordered write by thread %u of block %u", space,
              verb(write), cell.writer & 1023, cell.writer >> 10);
    if (write && (cell.read & touched)) {
      const bool same_phase = cell.reader_barriers == barriers && cell.reader >> 10 == self >> 10;
      if (!ordered(cell.reader, cell.reader_barriers, cell.reader_syncs) || cell.readers == 2 ||
          (cell.readers == 1 && same_phase && cell.reader_syncs >= syncs))
        fail_at(pc, "race on %s memory: write after an unordered read by thread %u of block %u%s", space,
                cell.reader & 1023, cell.reader >> 10, cell.readers ? " and others" : "");
    }
    if (write) {
      cell.writer = self;
      cell.writer_barriers = barriers;
      cell.writer_syncs = syncs;
      cell.written = touched;
      cell.atomic = atomic;
      cell.read = cell.readers = 0;
    } else {
      if (cell.read && cell.reader != self) {
        if (cell.reader >> 10 != self >> 10)
          cell.readers = 2;
        else if (cell.readers != 2)
          cell.readers = cell.reader_barriers == barriers ? 1 : 0;
        cell.read |= touched;
      } else {
        cell.read = touched;
      }
      cell.reader = self;
      cell.reader_barriers = barriers;
      cell.reader_syncs = syncs;
    }
  }
}

// What is known of one block's shared memory.
struct SharedShadow {
  std::vector<Cell> cells = std::vector<Cell>(kSharedBytes / 4);
  std::vector<std::uint32_t> written =
      std::vector<std::uint32_t>(kSharedBytes);  // generation that wrote each byte
  std::vector<std::uint8_t> pending = std::vector<std::uint8_t>(kSharedBytes);  // a cp.async is writing it
};
SharedShadow& shadow_of(const Block& block) {
  static std::map<const char*, SharedShadow> all;
  static const char* last = nullptr;
  static SharedShadow* found = nullptr;
  if (last != block.shared) {
    found = &all[block.shared];
    last = block.shared;
  }
  return *found;
}

void check_alignment(std::uintptr_t address, unsigned bytes, bool write, const void* pc, const char* space) {
  if (bytes <= 16 && (bytes & (bytes - 1)) == 0 && address % bytes)
    fail_at(pc, "misaligned %u-byte %s of %s memory", bytes, verb(write), space);
}

void check_device(const char* p, unsigned bytes, bool write, bool atomic, const void* pc) {
  static Allocation* last = nullptr;  // most accesses are to the allocation of the one before
  static std::uint64_t version = ~std::uint64_t(0);
  if (!last || version != allocation_version() || p < last->data || p >= last->data + last->bytes) {
    last = find_allocation(p);
    version = allocation_version();
  }
  Allocation* allocation = last;
  if (!allocation || p + bytes > allocation->data + allocation->bytes) {
    last = nullptr;
    if (allocation)
      fail_at(pc,
              "%s of %u bytes outside device memory: %td bytes past the end of allocation #%llu of %zu bytes",
              verb(write), bytes, p + bytes - (allocation->data + allocation->bytes),
              static_cast<unsigned long long>(allocation->number), allocation->bytes);
    else
      fail_at(pc, "%s of %u bytes outside device memory", verb(write), bytes);
    return;
  }
  check_alignment(reinterpret_cast<std::uintptr_t>(p), bytes, write, pc, "device");
  const auto offset = std::size_t(p - allocation->data);
  if (!write || atomic)
    if (const void* zero = std::memchr(&allocation->initialised[offset], 0, bytes))
      fail_at(pc, "read of device memory nothing wrote: byte %td of allocation #%llu of %zu bytes",
              static_cast<const std::uint8_t*>(zero) - allocation->initialised.get(),
              static_cast<unsigned long long>(allocation->number), allocation->bytes);
  if (write) std::memset(&allocation->initialised[offset], 1, bytes);
  check_race(allocation->cells.get(), offset, bytes, write, atomic, g_launch.generation, pc, "device");
}

void check_shared(const char* p, unsigned bytes, bool write, bool atomic, const void* pc) {
  Block& block = *g_current->block;
  if (p < block.shared || p >= block.shared + kSharedBytes) {
    fail_at(pc, "%s of another block's shared memory", verb(write));
    return;
  }
  if (!inside_shared(block, p, bytes)) {
    fail_at(pc, "%s of %u bytes outside the block's shared arrays", verb(write), bytes);
    return;
  }
  check_alignment(reinterpret_cast<std::uintptr_t>(p), bytes, write, pc, "shared");
  const auto offset = std::size_t(p - block.shared);
  SharedShadow& shadow = shadow_of(block);
  if (block.copies_pending && std::memchr(&shadow.pending[offset], 1, bytes))
    fail_at(pc, "%s of shared memory a cp.async is still writing", verb(write));
  const auto first = shadow.written.begin() + std::ptrdiff_t(offset), last = first + bytes;
  if ((!write || atomic) && std::any_of(first, last, [&](std::uint32_t g) { return g != block.generation; }))
    fail_at(pc, "read of shared memory nothing wrote");
  if (write) std::fill(first, last, block.generation);
  check_race(shadow.cells.data(), offset, bytes, write, atomic, block.generation, pc, "shared");
}

// Neither device nor shared memory: fine for parameters and constants.
void check_other(const char* p, unsigned bytes, bool write, const void* pc) {
  if (!write && p >= g_launch.params && p + bytes <= g_launch.params + g_launch.params_bytes) return;
  if (p >= &__executable_start && p < &_end) return;
  for (const auto& block : g_blocks)
    for (const Fiber& fiber : block->fibers)
      if (fiber.context.holds(p)) {
        fail_at(pc, "%s of another thread's local memory", verb(write));
        return;
      }
  Dl_info library{};
  if (dladdr(p, &library)) return;
  fail_at(pc, "%s of host memory in a kernel", verb(write));
}

}  // namespace

void check_access(const void* address, unsigned bytes, bool write, bool atomic, const void* pc) {
  if (!g_current || g_current->context.holds(address)) return;  // host code; the thread's own variables
  ++g_counters.accesses;
  const auto* p = static_cast<const char*>(address);
  const bool device = is_device(p), shared = !device && is_shared(p);
  if (device)
    check_device(p, bytes, write, atomic, pc);
  else if (shared)
    check_shared(p, bytes, write, atomic, pc);
  else
    check_other(p, bytes, write, pc);
  if ((device || shared) && g_current->block->sampled)
    record_access(pc, reinterpret_cast<std::uintptr_t>(p), bytes, shared);
  if (g_config.yield_at_access && (random_number() & 0xffff) < g_config.yield_at_access) yield_now();
}

void start_pending_copy(const AsyncCopy& copy) {
  Block& block = *g_current->block;
  if (!inside_shared(block, copy.dst, copy.bytes)) return;  // reported by the access
  block.copies_pending = true;
  std::memset(&shadow_of(block).pending[std::size_t(static_cast<char*>(copy.dst) - block.shared)], 1,
              copy.bytes);
}

// A write by this thread, now: its bytes are written, and who reads them after the next barrier is ordered
// behind it.
void finish_pending_copy(const AsyncCopy& copy, const void* pc) {
  Block& block = *g_current->block;
  if (!inside_shared(block, copy.dst, copy.bytes)) return;
  const auto offset = std::size_t(static_cast<char*>(copy.dst) - block.shared);
  SharedShadow& shadow = shadow_of(block);
  std::memset(&shadow.pending[offset], 0, copy.bytes);
  std::fill_n(shadow.written.begin() + std::ptrdiff_t(offset), copy.bytes, block.generation);
  check_race(shadow.cells.data(), offset, copy.bytes, true, false, block.generation, pc, "shared");
}

void check_async_read(const Block& block, std::size_t offset, unsigned bytes, const char* what) {
  const SharedShadow& shadow = shadow_of(block);
  if (block.copies_pending && std::memchr(&shadow.pending[offset], 1, bytes))
    device_fail("%s reads shared memory a cp.async is still writing", what);
  const auto first = shadow.written.begin() + std::ptrdiff_t(offset);
  if (std::any_of(first, first + bytes, [&](std::uint32_t g) { return g != block.generation; }))
    device_fail("%s reads shared memory nothing wrote", what);
}

void mark_async_write(const Block& block, std::size_t offset, unsigned bytes) {
  std::fill_n(shadow_of(block).written.begin() + std::ptrdiff_t(offset), bytes, block.generation);
}

void clear_pending_copies(Block& block) {
  if (!block.copies_pending) return;
  auto& pending = shadow_of(block).pending;
  std::fill(pending.begin(), pending.end(), std::uint8_t(0));
  block.copies_pending = false;
}

}  // namespace atrous::emu
