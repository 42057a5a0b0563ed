#include <cassert>

#include "atrous/kernels/grid_barrier.cuh"
#include "atrous/kernels/mma.cuh"
#include "atrous/kernels/wgmma.cuh"
#include "tests/cuda/emulator/kernels.h"

// Faults that kernels have, one a case; bugs_test.cpp says what the emulator must call each.

namespace atrous::tests {
namespace {

using namespace kernels;        // NOLINT
using namespace kernels::cuda;  // NOLINT: the instructions under test

// Every call needs a new piece of stack.
__device__ __attribute__((noinline)) float deep(int levels, const volatile float* last) {
  volatile float here[256];
  for (int i = 0; i < 256; ++i) here[i] = last[i % 4] + 1;
  return levels == 0 ? here[7] : deep(levels - 1, here) + here[3];
}

__global__ void bug_kernel(Bug bug, float* data, std::int64_t n, const float* host, const float* freed) {
  ATROUS_SHARED(float, first, [64]);
  ATROUS_SHARED(float, second, [64]);
  ATROUS_SHARED(std::uint64_t, barrier, [1]);
  const unsigned t = threadIdx.x;
  switch (bug) {
    case Bug::missing_barrier:
      first[t] = 1;
      __syncthreads();
      first[t] = float(t);
      data[t] = first[63 - t];
      break;
    case Bug::divergent_barrier:
      if (t < 32) {
        __syncthreads();
      } else {
        data[t] = 1;
        __syncthreads();
      }
      break;
    case Bug::partial_warp_barrier:  // half a warp waits at the barrier, the other half for the whole warp
      if (t % 32 < 16)
        __syncthreads();
      else
        data[t] = __shfl_sync(0xffffffffu, float(t), 0);
      break;
    case Bug::read_past_the_end:
      data[t] = data[n + t];
      break;
    case Bug::write_past_the_end:
      data[t + (t == 63)] = 1;
      break;
    case Bug::read_before_the_start:
      data[t] = *(data - 1);
      break;
    case Bug::absent_lane:
      if (t % 32 < 16) data[t] = __shfl_down_sync(0xffffu, float(t), 8);
      break;
    case Bug::lane_outside_its_mask:
      data[t] = __shfl_sync(0x0000ffffu, float(t), 0);
      break;
    case Bug::missing_syncwarp:
      first[t] = 1;
      __syncwarp();
      first[t] = float(t);
      data[t] = first[t ^ 1];
      break;
    case Bug::scatter_without_atomics:
      data[t % 8] += 1;
      break;
    case Bug::unwritten_shared:
      data[t] = first[t];
      break;
    case Bug::unwritten_device:
      data[t] = freed[t] + 1;
      break;  // allocated and never written
    case Bug::missing_copy_wait:
      first[t] = 0;
      __syncthreads();
      if (t < 16) {
        cp_async_16(&first[t * 4], data + t * 4);
        cp_async_commit();
      }
      __syncthreads();
      second[t] = first[t];
      if (t < 16) cp_async_wait<0>();
      __syncthreads();
      data[t] = second[t];
      break;
    case Bug::copies_left_behind:
      if (t < 16) {
        cp_async_16(&first[t * 4], data + t * 4);
        cp_async_commit();
      }
      break;
    case Bug::misaligned_vector:
      if (t == 0) data[0] = __uint_as_float(load16(data + 1).x);
      break;
    case Bug::host_pointer:
      data[t] = host[t];
      break;
    case Bug::shared_overrun:
      first[t] = 1;
      second[t] = 2;
      __syncthreads();
      data[t] = first[t + 8];
      break;
    case Bug::published_after_cas: {  // who claims a slot publishes its number by a plain store after the
                                      // atomicCAS
      int* keys = reinterpret_cast<int*>(data);
      int* numbers = keys + 16;
      const int key = int(t % 8) + 1;
      if (atomicCAS(&keys[key], 0, key) == 0) numbers[key] = key * 100;
      data[32 + t % 32] = float(numbers[key]);
      break;
    }
    case Bug::freed_memory:
      data[t] = freed[t];
      break;
    case Bug::failed_assertion:
      assert(t < 40);
      break;
    case Bug::partial_warp_mma:
      if (t < 48) {
        float d[4] = {};
        const std::uint32_t a[4] = {}, b[2] = {};
        mma_m16n8k16_bf16(d, a, b);
        data[t] = d[0];
      }
      break;
    case Bug::stack_overflow: {
      const volatile float start[4] = {1, 2, 3, 4};
      if (t == 3) data[t] = deep(1000, start);
      break;
    }
    case Bug::shared_left_from_last_block:  // only the first block fills the table
      if (blockIdx.x == 0) first[t] = float(t);
      __syncthreads();
      data[t] = first[t] * 0 + float(t);
      break;
    case Bug::missing_grid_barrier:  // what the other block writes may not be there yet
      data[blockIdx.x * 32 + t % 32] = 1;
      __syncthreads();
      if (t < 32) data[blockIdx.x * 32 + t] = data[(1 - blockIdx.x) * 32 + t] + 1;
      break;
    case Bug::block_leaves_before_the_grid_barrier:
      if (blockIdx.x == 2) return;
      ATROUS_GRID_BARRIER();
      break;
    case Bug::thread_leaves_before_the_grid_barrier:
      if (blockIdx.x == 1 && t == 5) return;
      ATROUS_GRID_BARRIER();
      break;
    case Bug::grid_barrier_among_some:  // an ordinary launch: blocks may come one after the other
      ATROUS_GRID_BARRIER();
      break;
    case Bug::too_few_at_mbarrier:
      if (t == 0) mbarrier_init(&barrier[0], 65);
      __syncthreads();
      mbarrier_arrive(&barrier[0]);
      mbarrier_wait(&barrier[0], 0);
      break;
    case Bug::too_many_at_mbarrier:  // the bytes keep the phase open
      if (t == 0) {
        mbarrier_init(&barrier[0], 63);
        mbarrier_expect_bytes(&barrier[0], 16);
      }
      __syncthreads();
      mbarrier_arrive(&barrier[0]);
      break;
    case Bug::product_without_wait:
    case Bug::descriptor_without_swizzle: {
      ATROUS_SHARED(uint4, tile, [17 * 64]);  // 16 KB from a multiple of 1 KB on
      for (unsigned i = t; i < 17 * 64; i += 64) store16(&tile[i], uint4{});
      __syncthreads();
      const bool waits = bug == Bug::descriptor_without_swizzle;
      float sums[64] = {};
      const std::uint64_t place = outer_rows_descriptor((shared_address(tile) + 1023) / 1024 * 1024) &
                                  ~(waits ? std::uint64_t(3) << 62 : 0);
      wgmma_bf16<0>(sums, place, place);
      wgmma_commit();
      if (waits) wgmma_wait<0>();
      data[t] = sums[0];
      break;
    }
    case Bug::count:
      break;
  }
}

}  // namespace

void run_bug(Stream stream, Bug bug, float* data, std::int64_t n) {
  static float* host = new float[64]();
  float* other = nullptr;
  if (bug == Bug::freed_memory || bug == Bug::unwritten_device) {
    ATROUS_CUDA_CHECK("bug", cudaMalloc(&other, 64 * sizeof(float)));
    if (bug == Bug::freed_memory) ATROUS_CUDA_CHECK("bug", cudaFree(other));
  }
  const bool two_blocks = bug == Bug::scatter_without_atomics || bug == Bug::shared_left_from_last_block;
  switch (bug) {
    case Bug::missing_grid_barrier:
      ATROUS_LAUNCH_COOPERATIVE(bug_kernel, 2, 64, 0, stream, bug, data, n, host, other);
      break;
    case Bug::block_leaves_before_the_grid_barrier:
    case Bug::thread_leaves_before_the_grid_barrier:
      ATROUS_LAUNCH_COOPERATIVE(bug_kernel, 3, 64, 0, stream, bug, data, n, host, other);
      break;
    default:
      ATROUS_LAUNCH(bug_kernel, two_blocks ? 2 : 1, 64, 0, stream, bug, data, n, host, other);
  }
}

}  // namespace atrous::tests
