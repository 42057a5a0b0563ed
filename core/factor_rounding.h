#pragma once

// Whether convolutions of f32 may round the factors of their products to fewer bits, where the device
// multiplies those faster; sums stay f32. Both are false until they are set, for all threads of the process.
//
//   TF32  10 bits of mantissa, each factor off by at most 2^-11 of itself: tensor cores of a CUDA device,
//         forward and backward
//   bf16  7 bits of mantissa, 2^-8: the CPU's pairs of products (cpu_multiplies_bf16()), forward
//
// Of no effect elsewhere, on other types, and in exact mode.

namespace atrous {

/// What the options of convolutions start from (Conv2dOptions::allow_tf32). A backward pass goes by what was
/// set when its forward pass was recorded.
bool tf32_allowed();
void set_tf32_allowed(bool allowed);

/// What the convolutions of layers go by.
bool bf16_factors_allowed();
void set_bf16_factors_allowed(bool allowed);

namespace detail {

/// Sets a permission for as long as one lives.
template <bool (*allowed)(), void (*set)(bool)>
class Permission {
 public:
  explicit Permission(bool now) : before_(allowed()) { set(now); }
  ~Permission() { set(before_); }
  Permission(const Permission&) = delete;
  Permission& operator=(const Permission&) = delete;

 private:
  bool before_;
};

}  // namespace detail

using Tf32Scope = detail::Permission<tf32_allowed, set_tf32_allowed>;
using Bf16FactorsScope = detail::Permission<bf16_factors_allowed, set_bf16_factors_allowed>;

}  // namespace atrous
