#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/support/number.h"
#include "bench/support/operation.h"

// Operations on a device, held against the same on the host.

namespace atrous::bench {

/// A result and its gradients by all inputs, for a fixed random gradient of the result.
struct Results {
  Tensor y, dy;
  std::vector<Tensor> gradients;
};

/// What the operation gives on the host in f32: what devices are compared with.
Results host_results(const Operation& operation);

/// The inputs on a device in other numbers; `wanted` says whose gradients are recorded.
std::vector<Variable> inputs_on(const Operation& operation, Device device, Number number,
                                const std::function<bool(std::size_t)>& wanted);

/// Compares every element of a result with the host's. Throws Error with the row's name if they differ by
/// more than tolerance_of(number).
void check_against_host(const std::string& name, const Tensor& got, const Tensor& host, Number number);
/// The same for result and gradients of the operation on a device.
void check_on_device(const std::string& name, const Operation& operation, const Results& host, Device device,
                     Number number);

}  // namespace atrous::bench
