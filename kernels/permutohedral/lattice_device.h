#pragma once

#include <algorithm>
#include <cstdint>

#include "atrous/kernels/permutohedral/permutohedral.h"
#include "atrous/kernels/reduce/scan.h"

// How the CUDA kernels of permutohedral.h cut their work and their workspaces. Also read by the functions
// that tell how large those are.

namespace atrous::kernels {

/// Strips of points whose bounds a block finds: two for each of 132 multiprocessors.
inline std::int64_t device_bound_strips(const LatticeDims& d) {
  return std::clamp<std::int64_t>(d.points / 1024, 1, 264);
}

/// Of lattice_number: where in the hash table each splat's key is, then the sums of the scan.
struct LatticeNumberParts {
  std::int64_t splats, tiles;
  explicit LatticeNumberParts(const LatticeDims& d) : splats(d.splats()), tiles(scan_tiles(d.splats())) {}
  std::int64_t size() const { return splats + tiles; }
};

/// Of lattice_link, which sorts splats by vertex, 8 bits at a time: a second list of splats, how often each
/// block meets each digit, the sums of the scan over those.
struct LatticeSortParts {
  static constexpr int kDigits = 256, kThreads = 256, kRounds = 8;
  static constexpr std::int64_t kTile = kThreads * kRounds;  // splats of a block

  std::int64_t splats, blocks, tiles;
  explicit LatticeSortParts(const LatticeDims& d)
      : splats(d.splats()), blocks((splats + kTile - 1) / kTile), tiles(scan_tiles(blocks * kDigits)) {}
  std::int64_t size() const { return splats + blocks * kDigits + tiles; }
};

}  // namespace atrous::kernels
