#include "atrous/core/stream.h"

#include <chrono>
#include <map>

#include "atrous/core/config.h"
#include "atrous/core/cuda_backend.h"
#include "atrous/core/error.h"
#include "atrous/core/later_check.h"

namespace atrous {
namespace {

// The stream of each CUDA device that a StreamScope of this thread has chosen.
thread_local std::map<int, void*> t_streams;

}  // namespace

Stream current_stream(Device device) {
  if (device.is_cpu() || t_streams.empty()) return {device, nullptr};
  const auto found = t_streams.find(device.index);
  return {device, found == t_streams.end() ? nullptr : found->second};
}

void synchronize(Device device) {
  if (device.is_cpu()) return;
  check_usable(device);
  if constexpr (ATROUS_WITH_CUDA) cuda_backend::synchronize_device(device.index);
  detail::make_later_checks(device);
}

OwnedStream::OwnedStream(Device device) : stream_{device, nullptr} {
  check_usable(device);
  if constexpr (ATROUS_WITH_CUDA)
    if (!device.is_cpu()) stream_.handle = cuda_backend::create_stream(device.index);
}

OwnedStream::~OwnedStream() {
  if constexpr (ATROUS_WITH_CUDA)
    if (stream_.handle) cuda_backend::destroy_stream(stream_.handle, stream_.device.index);
}

void OwnedStream::synchronize() const {
  if constexpr (ATROUS_WITH_CUDA)
    if (stream_.handle) cuda_backend::synchronize_stream(stream_);
}

StreamScope::StreamScope(Stream stream) : stream_(stream), before_(current_stream(stream.device).handle) {
  if (!stream.device.is_cpu()) t_streams[stream.device.index] = stream.handle;
}

StreamScope::~StreamScope() {
  if (!stream_.device.is_cpu()) t_streams[stream_.device.index] = before_;
}

Event::Event(Device device) : device_(device) {
  check_usable(device);
  if constexpr (ATROUS_WITH_CUDA)
    if (!device.is_cpu()) handle_ = cuda_backend::create_event(device.index);
}

Event::~Event() {
  if constexpr (ATROUS_WITH_CUDA)
    if (handle_) cuda_backend::destroy_event(handle_, device_.index);
}

void Event::record(Stream stream) {
  ATROUS_CHECK(DeviceError, stream.device == device_, "event", "an event of ", device_,
               " recorded on a stream of ", stream.device);
  if constexpr (ATROUS_WITH_CUDA)
    if (handle_) return cuda_backend::record_event(handle_, stream);
  time_ = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void Event::make_wait(Stream stream) const {
  if constexpr (ATROUS_WITH_CUDA) {
    if (!handle_) return;
    if (stream.device.is_cpu()) return synchronize();
    cuda_backend::wait_event(handle_, stream);
  }
}

void Event::synchronize() const {
  if constexpr (ATROUS_WITH_CUDA)
    if (handle_) cuda_backend::synchronize_event(handle_);
}

double Event::seconds_until(const Event& later) const {
  ATROUS_CHECK(DeviceError, device_ == later.device_, "event", "the time between an event of ", device_,
               " and one of ", later.device_);
  if constexpr (ATROUS_WITH_CUDA) {
    if (handle_) {
      later.synchronize();
      return cuda_backend::elapsed(handle_, later.handle_) * 1e-3;
    }
  }
  return later.time_ - time_;
}

}  // namespace atrous
