#pragma once

#include <algorithm>
#include <cstdint>

#include "atrous/core/parallel.h"

namespace atrous::kernels::cpu {

inline constexpr std::int64_t kElementGrain = 1 << 14;  // elements that are worth waking a thread for

/// Runs body(i) for every i in 0..n-1. The bodies do not depend on each other.
template <class Body>
void for_each(std::int64_t n, const Body& body) {
  parallel_for(n, kElementGrain, [&](std::int64_t begin, std::int64_t end) {
    const Body local = body;  // its spans in registers: no store can be taken to change them
    for (std::int64_t i = begin; i < end; ++i) local(i);
  });
}

/// The same for bodies that each handle a row of `row_size` elements.
template <class Body>
void for_each_row(std::int64_t rows, std::int64_t row_size, const Body& body) {
  const std::int64_t grain = std::max<std::int64_t>(1, kElementGrain / std::max<std::int64_t>(1, row_size));
  parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    const Body local = body;
    for (std::int64_t i = begin; i < end; ++i) local(i);
  });
}

}  // namespace atrous::kernels::cpu
