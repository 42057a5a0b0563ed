#include "tests/support/cuda_emulator/wgmma.h"

#include <cstring>
#include <vector>

#include "tests/support/cuda_emulator/math.h"
#include "tests/support/cuda_emulator/state.h"

namespace atrous::emu {
namespace {

// ---- barriers

MBarrier* barrier_at(const void* p, const char* what) {
  auto& barriers = g_current->block->mbarriers;
  const auto found = barriers.find(p);
  if (found != barriers.end()) return &found->second;
  device_fail("%s: there is no barrier at this address", what);
  return nullptr;
}

void complete_if_done(MBarrier& barrier) {
  if (barrier.pending != 0 || barrier.bytes != 0) return;
  ++barrier.phase;
  barrier.pending = barrier.arrivals;
  for (Fiber* fiber : barrier.waiting) make_ready(*fiber);
  barrier.waiting.clear();
}

void count_bytes(const void* p, std::int64_t bytes, const char* what) {
  MBarrier* barrier = barrier_at(p, what);
  if (!barrier) return;
  barrier->bytes += bytes;
  if (bytes < 0) complete_if_done(*barrier);
}

// ---- the 128-byte swizzle: of the address's bits 4-6 with its bits 7-9

std::uint32_t swizzle(std::uint32_t address) {
  const std::uint32_t chunk = address >> 4 & 7, row = address >> 7 & 7;
  return (address & ~0x70u) | (chunk ^ row) << 4;
}

// ---- products

struct Descriptor {
  std::uint32_t start, leading, stride;

  explicit Descriptor(std::uint64_t bits)
      : start(std::uint32_t(bits & 0x3fff) << 4),
        leading(std::uint32_t(bits >> 16 & 0x3fff) << 4),
        stride(std::uint32_t(bits >> 32 & 0x3fff) << 4) {
    if (bits >> 62 != 1) device_fail("wgmma: only the 128-byte swizzle is emulated");
    if (bits >> 49 & 7) device_fail("wgmma: a base offset is not emulated");
    if (bits >> 46 & 7 || bits >> 52 & 0x3ff || bits >> 14 & 3 || bits >> 30 & 3)
      device_fail("wgmma: bits of the descriptor that have no meaning are set");
  }
  // Element k of the sum, row or column `outer`. Canonical layouts with the 128-byte swizzle, in bytes:
  //   K-major    ((8, outer / 8), 64 elements of a row) : ((128, stride), 2)
  //   MN-major   ((64, outer / 64), (8, k / 8)) : ((2, leading), (128, stride))
  std::uint32_t k_major(int outer, int k) const {
    return swizzle(start + unsigned(outer % 8) * 128 + unsigned(outer / 8) * stride + unsigned(k) * 2);
  }
  std::uint32_t mn_major(int outer, int k) const {
    return swizzle(start + unsigned(outer % 64) * 2 + unsigned(outer / 64) * leading + unsigned(k % 8) * 128 +
                   unsigned(k / 8) * stride);
  }
};

ATROUS_EMU_UNSEEN float element(const Block& block, std::uint32_t address) {
  std::uint16_t bits;
  std::memcpy(&bits, block.shared + address, 2);
  return __uint_as_float(std::uint32_t(bits) << 16);
}

// What the lanes of a warp bring to a wait: their group.
struct Group {
  const std::vector<WgmmaRequest>* requests;
};

// A warp's part of one product: rows 16 * warp .. of the warpgroup's 64.
ATROUS_EMU_UNSEEN void multiply(void* const* lanes, std::size_t which, unsigned warp) {
  static float a_rows[16][16], b_rows[16][256], d[16][256];
  const auto request_of = [&](int lane) -> const WgmmaRequest& {
    return (*static_cast<Group*>(lanes[lane])->requests)[which];
  };
  const WgmmaRequest& first = request_of(0);
  const Block& block = *g_current->block;
  const Descriptor a(first.a), b(first.b);
  for (int lane = 1; lane < 32; ++lane) {
    const WgmmaRequest& other = request_of(lane);
    if (other.a != first.a || other.b != first.b || other.columns != first.columns)
      device_fail("wgmma: lanes of one warp ask for different products");
  }
  std::uint32_t highest = 0;
  const auto read = [&](std::uint32_t address) {
    highest = address > highest ? address : highest;
    return address < kSharedBytes ? element(block, address) : 0;
  };
  for (int k = 0; k < 16; ++k) {
    for (int row = 0; row < 16; ++row) a_rows[row][k] = read(a.k_major(int(warp % 4) * 16 + row, k));
    for (int column = 0; column < first.columns; ++column)
      b_rows[k][column] = read(first.transposed ? b.mn_major(column, k) : b.k_major(column, k));
  }
  if (highest >= kSharedBytes) device_fail("wgmma: a factor lies outside of shared memory");
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < first.columns; ++column) d[row][column] = 0;
    for (int k = 0; k < 16; ++k) {
      const float factor = a_rows[row][k];
      for (int column = 0; column < first.columns; ++column) d[row][column] += factor * b_rows[k][column];
    }
  }
  // Register 4j + i of lane 4g + t: row g (+8 for i >= 2), column 8j + 2t + (i & 1).
  for (int lane = 0; lane < 32; ++lane) {
    float* own = request_of(lane).d;
    for (int j = 0; j < first.columns / 8; ++j)
      for (int i = 0; i < 4; ++i)
        own[j * 4 + i] += d[lane / 4 + (i >= 2 ? 8 : 0)][j * 8 + lane % 4 * 2 + (i & 1)];
  }
}

ATROUS_EMU_UNSEEN void multiply_group(void* const* lanes, unsigned mask) {
  if (mask != 0xffffffffu) {
    device_fail("wgmma needs all 32 lanes of the warp (mask %08x)", mask);
    return;
  }
  const std::size_t count = static_cast<Group*>(lanes[0])->requests->size();
  for (int lane = 1; lane < 32; ++lane)
    if (static_cast<Group*>(lanes[lane])->requests->size() != count) {
      device_fail("wgmma: lanes of one warp ask for different products");
      return;
    }
  for (std::size_t i = 0; i < count; ++i) multiply(lanes, i, g_current->warp);
}

// Whether the factors of a warp's part are there when it asks for the product.
void check_factors(const WgmmaRequest& request, unsigned warp) {
  const Block& block = *g_current->block;
  const Descriptor a(request.a), b(request.b);
  const auto chunk = [&](std::uint32_t address) {
    if (address % 16 == 0 && address + 16 <= kSharedBytes) check_async_read(block, address, 16, "wgmma");
  };
  for (int k = 0; k < 16; k += 8)
    for (int row = 0; row < 16; ++row) chunk(a.k_major(int(warp % 4) * 16 + row, k));
  if (request.transposed) {
    for (int k = 0; k < 16; ++k)
      for (int column = 0; column < request.columns; column += 8) chunk(b.mn_major(column, k));
  } else {
    for (int k = 0; k < 16; k += 8)
      for (int column = 0; column < request.columns; ++column) chunk(b.k_major(column, k));
  }
}

void carry_out(std::vector<WgmmaRequest>& requests, const char* what, const char* file, int line) {
  Group group{&requests};
  warp_collective(0xffffffffu, &group, &multiply_group, what, file, line);
  requests.clear();
}

}  // namespace

std::uint32_t shared_address(const void* p) {
  const auto* at = static_cast<const char*>(p);
  const Block& block = *g_current->block;
  if (at < block.shared || at >= block.shared + kSharedBytes)
    device_fail("the address is not in shared memory");
  return std::uint32_t(at - block.shared);
}

void mbarrier_init(std::uint64_t* barrier, std::uint32_t arrivals) {
  require_shared(barrier, 8, 8, "mbarrier.init");
  g_current->block->mbarriers[barrier] = {arrivals, arrivals, 0, 0, {}};
}

void mbarrier_expect_bytes(std::uint64_t* barrier, std::uint32_t bytes) {
  count_bytes(barrier, bytes, "mbarrier.expect_tx");
}

void mbarrier_arrive(std::uint64_t* at) {
  MBarrier* barrier = barrier_at(at, "mbarrier.arrive");
  if (!barrier) return;
  if (barrier->pending == 0) {
    device_fail("mbarrier.arrive: more than %u threads arrive in one phase", barrier->arrivals);
    return;
  }
  --barrier->pending;
  complete_if_done(*barrier);
}

void mbarrier_wait(std::uint64_t* at, std::uint32_t parity, const char* file, int line) {
  MBarrier* barrier = barrier_at(at, "mbarrier.try_wait");
  if (!barrier) return;
  // While phase n is open, the last phase of the other parity has completed.
  while ((barrier->phase & 1) == parity) {
    Fiber* fiber = g_current;
    fiber->state = Fiber::State::at_mbarrier;
    fiber->waits_in = "mbarrier.try_wait";
    fiber->file = file;
    fiber->line = line;
    barrier->waiting.push_back(fiber);
    wait_here();
  }
}

void copy_box(void* to, const TensorMap& map, int first, int second, int third, std::uint64_t* barrier) {
  const kernels::TensorBoxes& boxes = map.boxes;
  const std::uint32_t bytes = boxes.bytes();
  require_shared(to, bytes, 1024, "cp.async.bulk.tensor");
  if (boxes.box[0] != 64 || boxes.box[1] > 256 || boxes.box[2] > 256)
    device_fail("cp.async.bulk.tensor: a box of %ux%ux%u", boxes.box[2], boxes.box[1], boxes.box[0]);
  if (reinterpret_cast<std::uintptr_t>(boxes.data) % 16 || boxes.strides[0] % 16 || boxes.strides[1] % 16)
    device_fail("cp.async.bulk.tensor: the tensor or its rows are not aligned to 16 bytes");
  Block& block = *g_current->block;
  const std::uint32_t start = shared_address(to);
  std::uint32_t at = start;
  for (std::uint32_t i = 0; i < boxes.box[2]; ++i)
    for (std::uint32_t j = 0; j < boxes.box[1]; ++j)
      for (std::uint32_t k = 0; k < boxes.box[0]; ++k, at += 2) {
        const std::int64_t plane = third + std::int64_t(i), row = second + std::int64_t(j),
                           element = first + std::int64_t(k);
        const bool inside = plane >= 0 && std::uint64_t(plane) < boxes.sizes[2] && row >= 0 &&
                            std::uint64_t(row) < boxes.sizes[1] && element >= 0 &&
                            std::uint64_t(element) < boxes.sizes[0];
        char* written = block.shared + swizzle(at);
        if (!inside) {
          std::memset(written, 0, 2);
          continue;
        }
        const char* from = static_cast<const char*>(boxes.data) + std::uint64_t(plane) * boxes.strides[1] +
                           std::uint64_t(row) * boxes.strides[0] + std::uint64_t(element) * 2;
        if (g_checked && (element % 8 == 0 || k == 0)) note_access(from, 2, false);
        std::memcpy(written, from, 2);
      }
  if (g_checked) mark_async_write(block, start, bytes);
  count_bytes(barrier, -std::int64_t(bytes), "cp.async.bulk.tensor");
}

void request_wgmma(float* d, int columns, bool transposed, std::uint64_t a, std::uint64_t b) {
  g_current->wgmma_open.push_back({d, columns, transposed, a, b});
  if (g_checked && g_current->lane == 0) check_factors(g_current->wgmma_open.back(), g_current->warp);
}

void wgmma_commit(const char* file, int line) {
  Fiber& fiber = *g_current;
  if (g_config.schedule == Schedule::reverse) carry_out(fiber.wgmma_open, "wgmma.commit_group", file, line);
  fiber.wgmma_groups.push_back(std::move(fiber.wgmma_open));
  fiber.wgmma_open.clear();
}

void wait_for_wgmma(unsigned keep, const char* file, int line) {
  Fiber& fiber = *g_current;
  while (fiber.wgmma_groups.size() > keep) {
    std::vector<WgmmaRequest> group = std::move(fiber.wgmma_groups.front());
    fiber.wgmma_groups.pop_front();
    carry_out(group, "wgmma.wait_group", file, line);
  }
}

void forget_wgmma(Fiber& fiber) {
  fiber.wgmma_open.clear();
  fiber.wgmma_groups.clear();
}

void check_no_wgmma_left(Fiber& fiber) {
  if (!fiber.wgmma_open.empty() || !fiber.wgmma_groups.empty())
    device_fail("the thread returns with wgmma products that nobody waited for");
}

}  // namespace atrous::emu
