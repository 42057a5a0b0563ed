#pragma once

#include "atrous/kernels/batch_norm/batch_norm_gradient.cuh"

// Batch norm that reads a map once. A block keeps its strip in registers and shared memory while the sums of
// all blocks are added up, across a barrier of the whole grid: so all blocks must be alive at once, and the
// strips (two maps of them in the backward pass) must fit on the chip. On a device of 132 multiprocessors
// with 227 KiB each these are maps up to 36 MB forward and up to 39 MB, x and dy together, backward.
//
// Strips, the order of additions in them and the merging are those of the kernels in several launches, so the
// bits are the same: which way a call went depends on shape, dtype and the device, and cannot be seen in its
// result.

namespace atrous::kernels::cuda {

/// batch_norm_training_forward; false if the map does not fit, and nothing was done.
template <class T>
bool forward_on_chip(Stream stream, const BatchNormDims& dims, Activation activation, Span<const T> x,
                     Span<const T> residual, double epsilon, Span<const T> gamma, Span<const T> beta,
                     Span<double> sums, Span<double> mean, Span<double> var,
                     Span<Accumulator<T>> coefficients, Span<T> y);

/// The pass, if it is one of training with dx and the maps fit; else false, and nothing was done.
template <class T>
bool backward_on_chip(const BackwardPass<T>& pass);

}  // namespace atrous::kernels::cuda
