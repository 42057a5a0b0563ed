#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace atrous::kernels {

/// For kernels that could not be run where they were built: each is tried on a device before it is used
/// there, and what came of it holds for the process.
///
///   static FirstUse& tried = *new FirstUse("the wgmma convolution", "mma.sync");
///   if (tried.passed(device, variant, [&] { return compare(...); })) ...
class FirstUse {
 public:
  using Warn = void (*)(const std::string& line);

  /// `kernel` and what serves in its place, for the warning: one line, to stderr unless `warn` is given.
  FirstUse(std::string kernel, std::string instead, Warn warn = nullptr);

  /// Whether the variant may be used on this device. The first call runs `attempt`, which returns why it may
  /// not, or nothing; other threads wait for that. What `attempt` throws passes through, and nothing is
  /// remembered.
  bool passed(int device, int variant, const std::function<std::string()>& attempt);

 private:
  std::string kernel_, instead_;
  Warn warn_;
  std::mutex mutex_;
  std::map<std::pair<int, int>, bool> verdicts_;
};

}  // namespace atrous::kernels
