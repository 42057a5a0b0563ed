#pragma once

#include "atrous/autograd/variable.h"

// Reductions to one number. They add in a fixed tree, so the result is the same for every number of threads,
// and in double, so it is accurate for any length.

namespace atrous {

/// The sum of all elements, as one element of rank 0.
Variable sum(const Variable& x);
/// The mean of all elements, as one element of rank 0; NaN for no elements.
Variable mean(const Variable& x);

/// Not differentiated; f32 and f64 (DtypeError). The sum of the squares of all elements.
double sum_of_squares(const Tensor& x);
/// The largest absolute value; NaN if any element is NaN, 0 for no elements.
double max_abs(const Tensor& x);
/// Whether no element is infinite or NaN.
bool all_finite(const Tensor& x);

}  // namespace atrous
