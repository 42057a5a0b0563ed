#include "atrous/core/tf32.h"

#include <atomic>

namespace atrous {
namespace {

std::atomic<bool> g_tf32_allowed = false;

}  // namespace

bool tf32_allowed() { return g_tf32_allowed; }
void set_tf32_allowed(bool allowed) { g_tf32_allowed = allowed; }

}  // namespace atrous
