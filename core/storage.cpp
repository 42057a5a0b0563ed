#include "atrous/core/storage.h"

#include <utility>

#include "atrous/core/dry_run.h"
#include "atrous/core/error.h"
#include "atrous/core/memory.h"

namespace atrous {

Storage::Storage(std::size_t bytes, Device device)
    : bytes_(bytes), device_(device), rehearsed_(in_dry_run()), place_(bytes, device) {
  static std::atomic<std::uint64_t> made{0};
  serial_ = made.fetch_add(1, std::memory_order_relaxed);
  if (!bytes)
    data_ = nullptr;
  else if (place_.data())
    data_ = place_.data();
  else
    data_ = rehearsed_ ? detail::rehearse_allocate(bytes, device) : detail::allocate(bytes, device);
}

Storage::~Storage() { release(); }

void Storage::release() {
  released_ = true;
  void* const block = std::exchange(data_, nullptr);
  if (!block || place_.data()) return;
  if (rehearsed_)
    detail::rehearse_deallocate(block, device_);
  else
    detail::deallocate(block, device_);
}

void Storage::refuse() const {
  fail<ValueError>("tensor", bytes_,
                   " bytes were read that were released (prepare_inference of a model does, "
                   "where it is told to): make or load the tensor again");
}

}  // namespace atrous
