#include "atrous/core/factor_rounding.h"

#include <atomic>

namespace atrous {
namespace {

std::atomic<bool> g_tf32_allowed = false;
std::atomic<bool> g_bf16_factors_allowed = false;

}  // namespace

bool tf32_allowed() { return g_tf32_allowed; }
void set_tf32_allowed(bool allowed) { g_tf32_allowed = allowed; }

bool bf16_factors_allowed() { return g_bf16_factors_allowed; }
void set_bf16_factors_allowed(bool allowed) { g_bf16_factors_allowed = allowed; }

}  // namespace atrous
