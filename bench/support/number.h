#pragma once

#include "atrous/core/dtype.h"

// In what numbers a row computes: a type of storage, and whether float factors may be rounded to TF32.

namespace atrous::bench {

enum class Number { f32, tf32, bf16 };

/// "f32", "tf32", "bf16": the last part of a row's name.
inline const char* name_of(Number n) {
  return n == Number::f32 ? "f32" : n == Number::tf32 ? "tf32" : "bf16";
}
inline Dtype storage_of(Number n) { return n == Number::bf16 ? Dtype::bf16 : Dtype::f32; }

/// What a result may depart from that of the CPU in f32, relative to its largest element: sums of thousands
/// of products in another order; factors of 11 bits; factors and results of 8 bits.
inline double tolerance_of(Number n) { return n == Number::f32 ? 1e-4 : n == Number::tf32 ? 4e-3 : 2e-2; }

}  // namespace atrous::bench
