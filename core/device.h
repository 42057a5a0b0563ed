#pragma once

#include <ostream>
#include <string_view>

namespace atrous {

enum class DeviceType { cpu, cuda };

/// Where a tensor lives. Written as "cpu", "cuda" (the first) or "cuda:1".
struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;

  bool is_cpu() const { return type == DeviceType::cpu; }
  bool operator==(const Device&) const = default;

  /// Reads "cpu", "cuda" or "cuda:N"; throws DeviceError for anything else, and for cuda in a build without
  /// CUDA.
  static Device parse(std::string_view text);
};

inline constexpr Device kCpu{};

std::ostream& operator<<(std::ostream& out, const Device& device);

/// The queue of one device in which kernels run in order. On the CPU a kernel has finished when its call
/// returns.
struct Stream {
  Device device;
  void* handle = nullptr;  // cudaStream_t on a CUDA device
};

/// The stream that operations on tensors of this device use in the calling thread.
Stream current_stream(Device device);

}  // namespace atrous
