#include "bench/support/device_check.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "atrous/core/error.h"
#include "atrous/core/parallel.h"

namespace atrous::bench {

using I = std::int64_t;

Results host_results(const Operation& op) {
  std::vector<Variable> inputs;
  for (const Variable& v : op.inputs) inputs.emplace_back(v.value(), true);
  Results r;
  const Variable y = op.call(inputs);
  r.y = y.value();
  r.dy = random_tensor(r.y.shape(), 5);
  y.backward(r.dy);
  for (const Variable& v : inputs) r.gradients.push_back(v.grad());
  return r;
}

std::vector<Variable> inputs_on(const Operation& op, Device device, Number number,
                                const std::function<bool(std::size_t)>& wanted) {
  std::vector<Variable> inputs;
  for (std::size_t k = 0; k < op.inputs.size(); ++k)
    inputs.emplace_back(op.inputs[k].value().to(storage_of(number)).to(device), wanted(k));
  return inputs;
}

void check_against_host(const std::string& name, const Tensor& got, const Tensor& host, Number number) {
  ATROUS_CHECK(Error, got.shape() == host.shape(), name, "the shape is ", got.shape(), ", on the host ",
               host.shape());
  const Tensor there = got.to(kCpu);
  const Span<const float> want = host.span<float>();
  double largest_want = 1e-6, worst = 0;
  I where = 0;
  std::mutex mutex;
  visit_float(there.dtype(), [&]<class T>() {
    const Span<const T> have = there.span<T>();
    parallel_for(want.size(), 1 << 16, [&](I begin, I end) {
      double most = 0, off = 0;
      I place = begin;
      for (I i = begin; i < end; ++i) {
        most = std::max(most, double(std::abs(want[i])));
        const double d = std::abs(double(Accumulator<T>(have[i])) - double(want[i]));
        if (d <= off) continue;
        off = std::isnan(d) ? INFINITY : d;
        place = i;
      }
      const std::lock_guard lock(mutex);
      largest_want = std::max(largest_want, most);
      if (off > worst) worst = off, where = place;
    });
  });
  ATROUS_CHECK(Error, worst <= tolerance_of(number) * largest_want, name, "element ", where, " of ",
               host.shape(), " differs from the host's ", want[where], " by ", worst, "; the largest is ",
               largest_want);
}

void check_on_device(const std::string& name, const Operation& op, const Results& host, Device device,
                     Number number) {
  const std::vector<Variable> inputs = inputs_on(op, device, number, [](std::size_t) { return true; });
  const Variable y = (number == Number::tf32 ? op.call_tf32 : op.call)(inputs);
  check_against_host(name + ", result", y.value(), host.y, number);
  y.backward(host.dy.to(storage_of(number)).to(device));
  for (std::size_t k = 0; k < inputs.size(); ++k)
    check_against_host(name + ", gradient of input " + std::to_string(k), inputs[k].grad(), host.gradients[k],
                       number);
}

}  // namespace atrous::bench
