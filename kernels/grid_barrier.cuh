#pragma once

#include "atrous/kernels/cuda.cuh"

#if !defined(ATROUS_CUDA_EMULATED)
#include <cooperative_groups.h>
#endif

// A launch whose blocks are all alive at once, and the barrier at which they meet. What a block wrote to
// device memory before it, every block sees behind it. Each thread of the launch comes to each barrier: a
// block that returned before would be waited for for ever.
//
//   ATROUS_LAUNCH_COOPERATIVE((kernel<T, 4>), grid, block, shared_bytes, stream, args...);
//       as ATROUS_LAUNCH; throws CudaError if the device does not hold that many blocks
//   ATROUS_GRID_BARRIER();

#if !defined(ATROUS_CUDA_EMULATED)

#define ATROUS_LAUNCH_COOPERATIVE(kernel, grid, block, shared_bytes, on_stream, ...)                 \
  do {                                                                                               \
    ::atrous::detail::use_device((on_stream).device.index);                                          \
    cudaLaunchAttribute atrous_attribute_{};                                                         \
    atrous_attribute_.id = cudaLaunchAttributeCooperative;                                           \
    atrous_attribute_.val.cooperative = 1;                                                           \
    cudaLaunchConfig_t atrous_config_{};                                                             \
    atrous_config_.gridDim = (grid);                                                                 \
    atrous_config_.blockDim = (block);                                                               \
    atrous_config_.dynamicSmemBytes = (shared_bytes);                                                \
    atrous_config_.stream = static_cast<cudaStream_t>((on_stream).handle);                           \
    atrous_config_.attrs = &atrous_attribute_;                                                       \
    atrous_config_.numAttrs = 1;                                                                     \
    static_cast<void>(cudaLaunchKernelEx(&atrous_config_, kernel, __VA_ARGS__));                     \
    ::atrous::detail::check_launch(#kernel, static_cast<cudaStream_t>((on_stream).handle), __FILE__, \
                                   __LINE__);                                                        \
  } while (false)
#define ATROUS_GRID_BARRIER() ::cooperative_groups::this_grid().sync()

#else

#define ATROUS_LAUNCH_COOPERATIVE(kernel, grid, block, shared_bytes, on_stream, ...)                 \
  do {                                                                                               \
    ::atrous::detail::use_device((on_stream).device.index);                                          \
    ::atrous::emu::launch<true>(#kernel, kernel, (grid), (block), (shared_bytes),                    \
                                static_cast<cudaStream_t>((on_stream).handle), __VA_ARGS__);         \
    ::atrous::detail::check_launch(#kernel, static_cast<cudaStream_t>((on_stream).handle), __FILE__, \
                                   __LINE__);                                                        \
  } while (false)
#define ATROUS_GRID_BARRIER() ::atrous::emu::grid_barrier(__FILE__, __LINE__)

#endif

namespace atrous::kernels::cuda {

/// Blocks of this kernel that the device holds at once, 0 if it knows no cooperative launch.
template <class... P>
std::int64_t resident_blocks(Stream stream, void (*kernel)(P...), int threads, std::size_t shared_bytes) {
  const int device = stream.device.index;
  ::atrous::detail::use_device(device);
  int cooperative = 0, multiprocessors = 0, of_each = 0;
  ATROUS_CUDA_CHECK("device", cudaDeviceGetAttribute(&cooperative, cudaDevAttrCooperativeLaunch, device));
  ATROUS_CUDA_CHECK("device",
                    cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  if (cooperative == 0) return 0;
  ATROUS_CUDA_CHECK("occupancy",
                    cudaOccupancyMaxActiveBlocksPerMultiprocessor(&of_each, kernel, threads, shared_bytes));
  return std::int64_t(of_each) * multiprocessors;
}

}  // namespace atrous::kernels::cuda
