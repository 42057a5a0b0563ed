#pragma once

#include <cstdint>

#include "atrous/core/parallel.h"

namespace atrous::kernels::cpu {

/// Runs body(i) for every i in 0..n-1. The bodies do not depend on each other.
template <class Body>
void for_each(std::int64_t n, const Body& body) {
  constexpr std::int64_t kGrain = 1 << 14;  // elements that are worth waking a thread for
  parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    const Body local = body;  // its spans in registers: no store can be taken to change them
    for (std::int64_t i = begin; i < end; ++i) local(i);
  });
}

}  // namespace atrous::kernels::cpu
