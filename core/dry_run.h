#pragma once

#include "atrous/core/device.h"
#include "atrous/core/memory.h"

// A rehearsal: the same program with sizes alone. It tells how much memory a network takes before any is
// taken, on devices that this machine need not have, because it asks for exactly the blocks that the real run
// will ask for, in the same order, of the same allocator.

namespace atrous {

/// While one lives, tensors made by its thread have addresses without memory behind them, kernels called by
/// it do nothing, and neither do parallel_for and the fills and copies of Tensor. Whatever else writes to
/// such a tensor gets pages for what it touches; whatever reads finds zeros, except that Tensor::item() is 1
/// (what backward() starts from). Tensors of before keep their values.
///
/// Only one lives at a time in a process; a second waits. Tensors made under it may outlive it, but are good
/// for nothing.
class DryRun {
 public:
  DryRun();
  ~DryRun();
  DryRun(const DryRun&) = delete;
  DryRun& operator=(const DryRun&) = delete;

  /// What memory_stats() would say if the run had been real, on a fresh process.
  MemoryStats stats(Device device = kCpu) const;
};

/// Whether the calling thread rehearses.
bool in_dry_run();

}  // namespace atrous
