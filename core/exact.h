#pragma once

// Whether convolutions keep to plain sums: no algorithm whose rounding depends on the size of the map or on
// the place in it (Winograd's on the CPU; cuBLAS, sums cut into slices and tensor cores on CUDA). Then a part
// of an image, seen with all that matters around it, gives the very bits of the whole.

namespace atrous {

/// What convolutions do that are called from now on: false until set_exact_mode.
bool exact_mode();
/// For all threads of the process. A backward pass goes by what was set when its forward pass was recorded.
void set_exact_mode(bool on);

/// Sets it for as long as one lives.
class ExactScope {
 public:
  explicit ExactScope(bool on = true) : before_(exact_mode()) { set_exact_mode(on); }
  ~ExactScope() { set_exact_mode(before_); }
  ExactScope(const ExactScope&) = delete;
  ExactScope& operator=(const ExactScope&) = delete;

 private:
  bool before_;
};

}  // namespace atrous
