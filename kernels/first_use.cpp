#include "atrous/kernels/first_use.h"

#include "atrous/core/verbose.h"

namespace atrous::kernels {

FirstUse::FirstUse(std::string kernel, std::string instead, Warn warn)
    : kernel_(std::move(kernel)), instead_(std::move(instead)), warn_(warn ? warn : say_once) {}

bool FirstUse::passed(int device, int variant, const std::function<std::string()>& attempt) {
  const std::lock_guard lock(mutex_);
  const std::pair key(device, variant);
  if (const auto found = verdicts_.find(key); found != verdicts_.end()) return found->second;
  const std::string why = attempt();
  verdicts_[key] = why.empty();
  if (!why.empty())
    warn_(kernel_ + " is not used on cuda:" + std::to_string(device) + ", where it failed its check: " + why +
          "; " + instead_ + " serves instead");
  return why.empty();
}

}  // namespace atrous::kernels
