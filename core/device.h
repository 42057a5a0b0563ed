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

  /// Reads "cpu", "cuda" or "cuda:N"; throws DeviceError for anything else, and for a device that cannot be
  /// used (see check_usable).
  static Device parse(std::string_view text);
};

inline constexpr Device kCpu{};

std::ostream& operator<<(std::ostream& out, const Device& device);

/// CUDA devices that this process may use: 0 in a build without CUDA, and where there is no driver.
int cuda_device_count();

/// Throws DeviceError unless tensors can live on the device, and says what to do: a build without CUDA, no
/// driver, no such device, or an architecture that this build has no code for.
void check_usable(Device device);

/// Throws DeviceError unless code built for `built`, a list like "80-real;90-real;90a-real" or "80" (which
/// brings the portable code as well), runs on a device of this compute capability (10 * major + minor).
/// Compiled code runs on its own major version from its minor one on, 90a on 9.0 alone; portable code (PTX)
/// on everything from its version on.
void check_architecture(std::string_view device_name, int capability, std::string_view built);

/// The queue of one device in which kernels run in order. On the CPU a kernel has finished when its call
/// returns.
struct Stream {
  Device device;
  void* handle = nullptr;  // cudaStream_t on a CUDA device
};

/// The stream that operations on tensors of this device use in the calling thread: the device's default one,
/// or that of a StreamScope (core/stream.h).
Stream current_stream(Device device);

/// Waits until everything given to the device has finished.
void synchronize(Device device);

}  // namespace atrous
