#pragma once

// Whether convolutions of f32 may multiply in TF32, as a CUDA device's tensor cores do: factors rounded to 10
// bits of mantissa (each by at most 2^-11 of itself), sums in f32. Of no effect on the CPU and on other
// types.

namespace atrous {

/// What the options of convolutions start from (Conv2dOptions::allow_tf32): false until set_tf32_allowed.
bool tf32_allowed();
/// For all threads of the process. A backward pass goes by what was set when its forward pass was recorded.
void set_tf32_allowed(bool allowed);

/// Sets it for as long as one lives.
class Tf32Scope {
 public:
  explicit Tf32Scope(bool allowed) : before_(tf32_allowed()) { set_tf32_allowed(allowed); }
  ~Tf32Scope() { set_tf32_allowed(before_); }
  Tf32Scope(const Tf32Scope&) = delete;
  Tf32Scope& operator=(const Tf32Scope&) = delete;

 private:
  bool before_;
};

}  // namespace atrous
