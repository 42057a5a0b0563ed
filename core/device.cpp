#include "atrous/core/device.h"

#include <charconv>

#include "atrous/core/config.h"
#include "atrous/core/error.h"

namespace atrous {

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
  ATROUS_CHECK(DeviceError, ATROUS_WITH_CUDA, "device", "\"", text,
               "\" asked for, and this build has no CUDA");
  return {DeviceType::cuda, index};
}

std::ostream& operator<<(std::ostream& out, const Device& device) {
  if (device.is_cpu()) return out << "cpu";
  return out << "cuda:" << device.index;
}

Stream current_stream(Device device) { return {device, nullptr}; }

}  // namespace atrous
