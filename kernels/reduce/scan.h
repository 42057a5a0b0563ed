#pragma once

#include <cstdint>

// How scan.cuh cuts its work. Also read by the functions that tell how much workspace that takes.

namespace atrous::kernels {

inline constexpr int kScanThreads = 256, kScanRounds = 8;
inline constexpr std::int64_t kScanTile = kScanThreads * kScanRounds;  // elements of a block

/// Integers of workspace for a scan of n elements.
inline std::int64_t scan_tiles(std::int64_t n) { return (n + kScanTile - 1) / kScanTile; }

}  // namespace atrous::kernels
