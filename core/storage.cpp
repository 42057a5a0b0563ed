#include "atrous/core/storage.h"

#include "atrous/core/dry_run.h"
#include "atrous/core/memory.h"

namespace atrous {

Storage::Storage(std::size_t bytes, Device device)
    : bytes_(bytes), device_(device), rehearsed_(in_dry_run()) {
  static std::atomic<std::uint64_t> made{0};
  serial_ = made.fetch_add(1, std::memory_order_relaxed);
  if (!bytes)
    data_ = nullptr;
  else
    data_ = rehearsed_ ? detail::rehearse_allocate(bytes, device) : detail::allocate(bytes, device);
}

Storage::~Storage() {
  if (!data_) return;
  if (rehearsed_)
    detail::rehearse_deallocate(data_, device_);
  else
    detail::deallocate(data_, device_);
}

}  // namespace atrous
