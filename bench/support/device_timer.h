#pragma once

#include <cstddef>
#include <functional>

#include "atrous/core/device.h"

// How a CUDA device is timed: by events around a few calls, with the device kept busy beforehand so that the
// calls stand in its queue when the first event is reached and no launch is waited for; over copies of the
// inputs that together do not fit into its L2 cache, so that every call reads from memory; the median of
// many. Exists in builds with CUDA only: every call stands behind `if constexpr (ATROUS_WITH_CUDA)`.

namespace atrous::bench {

struct Timing {
  double seconds = 0;  ///< median of a call
  double spread = 0;   ///< distance of the quartiles, relative to the median
};

/// How many copies of the inputs to go round with so that more than L2 passes between two uses of one;
/// `bytes` are those of one copy and of what its call writes.
std::size_t copies_past_l2(Device device, double bytes);

/// Calls `body(copy)` with 0..copies-1 in turn: once each to warm up, then timed.
Timing time_on_device(Device device, std::size_t copies, const std::function<void(std::size_t)>& body);

}  // namespace atrous::bench
