#include "atrous/core/device.h"

#include <charconv>
#include <string>

#include "atrous/core/config.h"
#include "atrous/core/cuda_backend.h"
#include "atrous/core/error.h"

namespace atrous {
namespace {

// One entry of a list of architectures: "90a-real" is 90, specific, compiled code.
struct Architecture {
  int version = 0;
  bool specific = false, real = true, portable = true;
};

Architecture read_architecture(std::string_view text) {
  Architecture a;
  const char* end = text.data() + text.size();
  const char* rest = std::from_chars(text.data(), end, a.version).ptr;
  a.specific = rest != end && *rest == 'a';
  if (text.ends_with("-real")) a.portable = false;
  if (text.ends_with("-virtual")) a.real = false;
  return a;
}

bool runs_on(const Architecture& a, int capability) {
  if (a.specific) return a.version == capability;
  if (a.real && a.version / 10 == capability / 10 && a.version <= capability) return true;
  return a.portable && a.version <= capability;
}

}  // namespace

Device Device::parse(std::string_view text) {
  if (text == "cpu") return {};
  int index = 0;
  bool known = text == "cuda";
  if (text.starts_with("cuda:")) {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + 5, end, index);
    known = error == std::errc() && stop == end && index >= 0;
  }
  ATROUS_CHECK(DeviceError, known, "device", "\"", text, "\" is not a device; write cpu, cuda or cuda:N");
  const Device device{DeviceType::cuda, index};
  check_usable(device);
  return device;
}

std::ostream& operator<<(std::ostream& out, const Device& device) {
  if (device.is_cpu()) return out << "cpu";
  return out << "cuda:" << device.index;
}

int cuda_device_count() {
  if constexpr (ATROUS_WITH_CUDA) return cuda_backend::device_count();
  return 0;
}

void check_usable(Device device) {
  if (device.is_cpu()) return;
  ATROUS_CHECK(DeviceError, ATROUS_WITH_CUDA, "device", device,
               " asked for, and this build has no CUDA: configure with -DATROUS_WITH_CUDA=ON");
  if constexpr (ATROUS_WITH_CUDA) {
    const char* why = nullptr;
    const int count = cuda_backend::device_count(&why);
    ATROUS_CHECK(DeviceError, count > 0, "device", device, " asked for, and there is no CUDA device: ", why);
    ATROUS_CHECK(DeviceError, device.index < count, "device", device, " asked for, and the devices are ",
                 Device{DeviceType::cuda, 0}, " to ", Device{DeviceType::cuda, count - 1});
    check_architecture(cuda_backend::device_name(device.index), cuda_backend::capability(device.index),
                       ATROUS_CUDA_ARCHITECTURES);
  }
}

void check_architecture(std::string_view device_name, int capability, std::string_view built) {
  for (std::string_view rest = built; !rest.empty();) {
    const std::size_t end = std::min(rest.find(';'), rest.size());
    if (runs_on(read_architecture(rest.substr(0, end)), capability)) return;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  fail<DeviceError>("device", device_name, " has compute capability ", capability / 10, '.', capability % 10,
                    ", and this build has code for \"", built,
                    "\": configure with -DATROUS_CUDA_ARCHITECTURES=", capability);
}

}  // namespace atrous
