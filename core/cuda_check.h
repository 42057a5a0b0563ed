#pragma once

#include <cuda_runtime.h>

#include "atrous/core/error.h"

// How calls of the CUDA runtime are checked. Only CUDA sources include this file.

namespace atrous::detail {

/// Throws CudaError("[op] cudaErrorName: description, from file:line").
[[noreturn]] void cuda_failed(const char* op, cudaError_t error, const char* file, int line);
[[noreturn]] void cublas_failed(const char* op, int status, const char* file, int line);

/// What follows every launch: throws CudaError if it was refused. With ATROUS_SYNC_LAUNCHES=1 in the
/// environment it also waits for the kernel, so that a fault inside shows at its own launch.
void check_launch(const char* kernel, cudaStream_t stream, const char* file, int line);

/// Makes `index` the device of the calling thread.
void use_device(int index);

}  // namespace atrous::detail

/// Calls a function of the CUDA runtime and throws CudaError unless it succeeds.
#define ATROUS_CUDA_CHECK(op, call)                                             \
  do {                                                                          \
    if (const cudaError_t atrous_error_ = (call); atrous_error_ != cudaSuccess) \
      ::atrous::detail::cuda_failed(op, atrous_error_, __FILE__, __LINE__);     \
  } while (false)

/// The same for cuBLAS, whose success is 0 too.
#define ATROUS_CUBLAS_CHECK(op, call)                                          \
  do {                                                                         \
    if (const int atrous_status_ = int(call); atrous_status_ != 0)             \
      ::atrous::detail::cublas_failed(op, atrous_status_, __FILE__, __LINE__); \
  } while (false)
