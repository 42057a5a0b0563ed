#include <cstring>
#include <utility>

#include "tests/support/cuda_emulator/state.h"

// cp.async: a copy may land at any moment between its issue and the wait for its group. The bytes move at the
// wait, so that a missing wait shows; under the random schedule half of the copies move at once, so that a
// buffer that is overwritten too early shows. The checked build treats the bytes as being written all that
// time.

namespace atrous::emu {
namespace {

__attribute__((no_sanitize("address"))) void land(const AsyncCopy& copy) {
  if (copy.src_bytes) std::memcpy(copy.dst, copy.src, copy.src_bytes);
  std::memset(static_cast<char*>(copy.dst) + copy.src_bytes, 0, copy.bytes - copy.src_bytes);
}

}  // namespace

void cp_async(void* dst, const void* src, unsigned bytes, unsigned src_bytes) {
  const void* pc = __builtin_return_address(0);
  require_shared(dst, bytes, bytes, "cp.async");
  if (reinterpret_cast<std::uintptr_t>(src) % bytes)
    device_fail("cp.async: the source is not aligned to %u bytes", bytes);
  if (src_bytes > bytes) device_fail("cp.async: %u bytes of source for %u", src_bytes, bytes);
  AsyncCopy copy{dst, src, bytes, src_bytes, false};
  if (g_checked) {
    if (src_bytes) check_access(src, src_bytes, false, false, pc);
    check_access(dst, bytes, true, false, pc);
    start_pending_copy(copy);
  }
  if (g_config.schedule == Schedule::random && (random_number() & 1)) {
    land(copy);
    copy.landed = true;
  }
  g_current->copied = true;
  g_current->open_copies.push_back(copy);
}

void cp_async_commit() {
  g_current->copied = true;
  g_current->copy_groups.push_back(std::move(g_current->open_copies));
  g_current->open_copies.clear();
}

void cp_async_wait(unsigned keep) {
  const void* pc = __builtin_return_address(0);
  Fiber& fiber = *g_current;
  while (fiber.copy_groups.size() > keep) {
    for (const AsyncCopy& copy : fiber.copy_groups.front()) {
      if (!copy.landed) land(copy);
      if (g_checked) finish_pending_copy(copy, pc);
    }
    fiber.copy_groups.pop_front();
  }
}

void forget_copies(Fiber& fiber) {
  if (!fiber.copied) return;
  fiber.open_copies.clear();
  fiber.copy_groups.clear();
  fiber.copied = false;
}

void check_no_copies_left(Fiber& fiber) {
  if (!fiber.copied) return;
  bool left = !fiber.open_copies.empty();
  for (const auto& group : fiber.copy_groups) left |= !group.empty();
  if (left) device_fail("the thread returns with cp.async copies that nobody waited for");
}

}  // namespace atrous::emu
