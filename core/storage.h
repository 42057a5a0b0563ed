#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "atrous/core/arena.h"
#include "atrous/core/device.h"

namespace atrous {

/// One block of memory on one device, freed with its last owner. Its contents start undefined.
class Storage {
 public:
  Storage(std::size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const {
    if (released_) [[unlikely]]
      refuse();
    return data_;
  }
  /// The same for somebody who may write: stamp() changes.
  void* data_to_write() {
    writes_.store(writes_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return data();
  }
  /// Gives the memory back at once; from then on data() throws ValueError. stamp() stays.
  void release();
  bool released() const { return released_; }
  /// Which block this is, of all that the process ever made, and how often it was opened for writing.
  std::pair<std::uint64_t, std::uint64_t> stamp() const {
    return {serial_, writes_.load(std::memory_order_relaxed)};
  }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  [[noreturn]] void refuse() const;

  std::size_t bytes_;
  Device device_;
  bool rehearsed_;            // made in a DryRun: an address without memory
  detail::ArenaPlace place_;  // or in the heap
  bool released_ = false;
  void* data_;
  std::uint64_t serial_;
  std::atomic<std::uint64_t> writes_{0};  // no more exact than it has to be: two at once may count as one
};

}  // namespace atrous
