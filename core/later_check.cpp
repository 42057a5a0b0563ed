#include "atrous/core/later_check.h"

#include <memory>
#include <utility>
#include <vector>

#include "atrous/core/stream.h"

namespace atrous {
namespace {

struct LaterCheck {
  Tensor flag;
  std::unique_ptr<Event> written;  // the copy that brings the check about may be of another stream
  std::function<void(const Tensor&)> check;
};
thread_local std::vector<LaterCheck> t_checks;

}  // namespace

void check_later(const Tensor& flag, std::function<void(const Tensor&)> check) {
  if (flag.device().is_cpu()) return check(flag);
  auto written = std::make_unique<Event>(flag.device());
  written->record(current_stream(flag.device()));
  t_checks.push_back({flag, std::move(written), std::move(check)});
}

void detail::make_later_checks(Device device) {
  if (t_checks.empty()) return;
  // Taken off the list first: the copies made here come back to this function.
  std::vector<LaterCheck> due;
  std::erase_if(t_checks, [&](LaterCheck& one) {
    if (!(one.flag.device() == device)) return false;
    due.push_back(std::move(one));
    return true;
  });
  for (const LaterCheck& one : due) {
    one.written->synchronize();
    one.check(one.flag.to(kCpu));
  }
}

}  // namespace atrous
