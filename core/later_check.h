#pragma once

#include <functional>

#include "atrous/core/tensor.h"

// Checks of values that lie on a device. To look at them at once, the host would have to wait for everything
// before them; so on a CUDA device they are looked at when the host waits anyway.

namespace atrous {

/// Has `check` look at a copy of `flag` on the host; `check` throws if it does not like it. On the CPU that
/// is now. On a CUDA device it is the next time that this thread copies something from the device to the host
/// (Tensor::to, item()) or synchronises with it: the exception comes from there, before the value does. If
/// more than one check fails, the first is told.
void check_later(const Tensor& flag, std::function<void(const Tensor& on_host)> check);

namespace detail {
/// Makes the checks of this thread that lie on the device; after the host has waited for it.
void make_later_checks(Device device);
}  // namespace detail

}  // namespace atrous
