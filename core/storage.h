#pragma once

#include <cstddef>

#include "atrous/core/device.h"

namespace atrous {

/// One block of memory on one device, freed with its last owner. Its contents start undefined.
class Storage {
 public:
  Storage(std::size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  std::size_t bytes_;
  Device device_;
  bool rehearsed_;  // made in a DryRun: an address without memory
  void* data_;
};

}  // namespace atrous
