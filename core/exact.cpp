#include "atrous/core/exact.h"

#include <atomic>

namespace atrous {
namespace {

std::atomic<bool> g_exact = false;

}  // namespace

bool exact_mode() { return g_exact.load(std::memory_order_relaxed); }
void set_exact_mode(bool on) { g_exact.store(on, std::memory_order_relaxed); }

}  // namespace atrous
