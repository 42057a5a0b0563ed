#include "atrous/core/storage.h"

#include "atrous/core/memory.h"

namespace atrous {

Storage::Storage(std::size_t bytes, Device device)
    : bytes_(bytes), device_(device), data_(bytes ? detail::allocate(bytes, device) : nullptr) {}

Storage::~Storage() {
  if (data_) detail::deallocate(data_, device_);
}

}  // namespace atrous
