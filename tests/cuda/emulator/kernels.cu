#include "tests/cuda/emulator/kernels.h"

#include "atrous/kernels/grid_barrier.cuh"
#include "atrous/kernels/mma.cuh"
#include "atrous/kernels/wgmma.cuh"

namespace atrous::tests {
namespace {

using namespace kernels;        // NOLINT
using namespace kernels::cuda;  // NOLINT: the instructions under test

__global__ void rotate_kernel(int rounds, int* values) {
  ATROUS_SHARED(int, turn, [96]);
  const unsigned t = threadIdx.x;
  int mine = values[blockIdx.x * 96 + t];
  for (int round = 0; round < rounds; ++round) {
    turn[t] = mine;
    __syncthreads();
    mine = turn[(t + 1) % 96];
    __syncthreads();
  }
  values[blockIdx.x * 96 + t] = mine;
}

__global__ void rotate_grid_kernel(int rounds, int* values) {
  const unsigned t = threadIdx.x;
  for (int round = 0; round < rounds; ++round) {
    const int next = values[(blockIdx.x + 1) % gridDim.x * 64 + t];
    ATROUS_GRID_BARRIER();
    values[blockIdx.x * 64 + t] = next;
    ATROUS_GRID_BARRIER();
  }
}

__global__ void warp_kernel(const unsigned* values, unsigned* results) {
  constexpr unsigned all = 0xffffffffu;
  const unsigned lane = threadIdx.x, v = values[lane];
  unsigned* out = results + lane;
  *out = __shfl_sync(all, v, 5), out += 32;
  *out = __shfl_sync(all, v, int(lane) + 3, 8), out += 32;  // within groups of 8, round
  *out = __shfl_xor_sync(all, v, 6), out += 32;
  *out = __shfl_down_sync(all, v, 3), out += 32;
  *out = __shfl_up_sync(all, v, 3), out += 32;
  *out = __ballot_sync(all, v % 3 == 0), out += 32;
  *out = unsigned(__any_sync(all, v == 7)), out += 32;
  *out = unsigned(__all_sync(all, v < 100)), out += 32;
  *out = __match_any_sync(all, v % 4), out += 32;
  *out = __reduce_add_sync(all, v), out += 32;
  // Two halves of the warp, each on its own.
  const unsigned half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  *out = __reduce_add_sync(half, v);
}

// The rows and columns of fragments are those of the PTX ISA, "Matrix Fragments for mma.m16n8k16" and "...
// m16n8k8".
__global__ void multiply_bf16_kernel(const bf16* a, const bf16* b, float* d) {
  const int group = int(threadIdx.x) >> 2, place = int(threadIdx.x) % 4;
  std::uint32_t fa[4] = {}, fb[2] = {};
  float fd[4];
  for (int i = 0; i < 8; ++i) {
    const int row = (i < 2 || (i >= 4 && i < 6)) ? group : group + 8;
    const int column = place * 2 + (i & 1) + (i >= 4 ? 8 : 0);
    fa[i / 2] |= std::uint32_t(a[row * 16 + column].bits) << (i % 2 * 16);
  }
  for (int i = 0; i < 4; ++i) {
    const int row = place * 2 + (i & 1) + (i >= 2 ? 8 : 0);
    fb[i / 2] |= std::uint32_t(b[row * 8 + group].bits) << (i % 2 * 16);
  }
  for (int i = 0; i < 4; ++i) fd[i] = d[(i < 2 ? group : group + 8) * 8 + place * 2 + (i & 1)];
  mma_m16n8k16_bf16(fd, fa, fb);
  for (int i = 0; i < 4; ++i) d[(i < 2 ? group : group + 8) * 8 + place * 2 + (i & 1)] = fd[i];
}

// The places of sums are those of the PTX ISA, "Register Fragments for wgmma.mma_async.m64nNk16", D.
__global__ void multiply_wgmma_kernel(const __grid_constant__ TensorMap a_map,
                                      const __grid_constant__ TensorMap b_map, bool b_outer, float* d) {
  ATROUS_DYN_SHARED(shared);
  ATROUS_SHARED(std::uint64_t, full, [1]);
  unsigned char* a = shared + (1024 - shared_address(shared) % 1024) % 1024;
  unsigned char* b = a + 64 * 128;
  if (threadIdx.x == 0) {
    mbarrier_init(full, 1);
    fence_barrier_init();
    mbarrier_expect_bytes(full, 64 * 128 + 128 * 128);
    copy_box(a, a_map, 0, 0, 0, full);
    copy_box(b, b_map, 0, 0, 0, full);
    if (!b_outer) copy_box(b + 64 * 128, b_map, 64, 0, 0, full);
    mbarrier_arrive(full);
  }
  __syncthreads();
  mbarrier_wait(full, 0);
  float sums[64];
  const auto place = [&](int i) {
    const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
    const int row = 16 * warp + lane / 4 + (i % 4 < 2 ? 0 : 8), column = i / 4 * 8 + lane % 4 * 2 + i % 2;
    return row * 128 + column;
  };
  for (int i = 0; i < 64; ++i) sums[i] = d[place(i)];
  fence_operands(sums);
  wgmma_fence();
  const std::uint64_t from_a = outer_rows_descriptor(shared_address(a));
  for (unsigned k = 0; k < 4; ++k)
    if (b_outer)
      wgmma_bf16<0>(sums, advanced(from_a, k * kOuterRowsStep),
                    advanced(outer_rows_descriptor(shared_address(b)), k * kOuterRowsStep));
    else
      wgmma_bf16<1>(sums, advanced(from_a, k * kOuterRowsStep),
                    advanced(depth_rows_descriptor(shared_address(b), 64 * 128), k * kDepthRowsStep));
  wgmma_commit();
  wgmma_wait<0>();
  fence_operands(sums);
  for (int i = 0; i < 64; ++i) d[place(i)] = sums[i];
}

__global__ void multiply_tf32_kernel(const float* a, const float* b, float* d) {
  const int group = int(threadIdx.x) >> 2, place = int(threadIdx.x) % 4;
  std::uint32_t fa[4], fb[2];
  float fd[4];
  for (int i = 0; i < 4; ++i)
    fa[i] = to_tf32(a[(i % 2 == 0 ? group : group + 8) * 8 + (i < 2 ? place : place + 4)]);
  for (int i = 0; i < 2; ++i) fb[i] = to_tf32(b[(i == 0 ? place : place + 4) * 8 + group]);
  for (int i = 0; i < 4; ++i) fd[i] = d[(i < 2 ? group : group + 8) * 8 + place * 2 + (i & 1)];
  mma_m16n8k8_tf32(fd, fa, fb);
  for (int i = 0; i < 4; ++i) d[(i < 2 ? group : group + 8) * 8 + place * 2 + (i & 1)] = fd[i];
}

__global__ void load_matrices_kernel(const std::uint16_t* tile, unsigned* x4, unsigned* x4_trans,
                                     unsigned* x2_trans) {
  ATROUS_SHARED(uint4, rows, [32]);
  const unsigned lane = threadIdx.x;
  store16(&rows[lane], load16(tile + lane * 8));
  __syncwarp();
  std::uint32_t four[4], four_trans[4], two[2];
  ldmatrix_x4(four, &rows[lane]);
  ldmatrix_x4_trans(four_trans, &rows[lane]);
  ldmatrix_x2_trans(two, &rows[lane % 16]);
  for (int i = 0; i < 4; ++i) x4[lane * 4 + unsigned(i)] = four[i];
  for (int i = 0; i < 4; ++i) x4_trans[lane * 4 + unsigned(i)] = four_trans[i];
  for (int i = 0; i < 2; ++i) x2_trans[lane * 2 + unsigned(i)] = two[i];
}

__global__ void copy_in_groups_kernel(const unsigned* source, unsigned* seen) {
  ATROUS_SHARED(uint4, place, [3]);
  const auto look = [&](int row, int arrived) {
    // Only what has arrived may be read; the rest would be reported.
    for (int i = 0; i < 3; ++i) seen[row * 4 + i] = i < arrived ? place[i].x : 0u;
    seen[row * 4 + 3] = arrived == 3 ? place[2].y : 0u;
  };
  for (int i = 0; i < 3; ++i) {
    cp_async_16(&place[i], source + i * 4, i == 2 ? 4 : 16);
    cp_async_commit();
  }
  look(0, 0);
  cp_async_wait<2>();
  look(1, 1);
  cp_async_wait<1>();
  look(2, 2);
  cp_async_wait<0>();
  look(3, 3);
}

__global__ void note_order_kernel(int* next, int* order) { order[atomicAdd(next, 1)] = int(blockIdx.x); }

__global__ void add_one_kernel(int n, const int* from, int* to) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) to[i] = from[i] + 1;
}

__global__ void step_kernel(int step, int shared_step, const float* from, float* to) {
  ATROUS_SHARED(float, tile, [1024]);
  const int lane = int(threadIdx.x);
  tile[lane * shared_step] = from[lane * step];
  __syncwarp();
  to[lane] = tile[lane * shared_step];
}

}  // namespace

void rotate_blocks(Stream stream, unsigned blocks, int rounds, int* values) {
  ATROUS_LAUNCH(rotate_kernel, blocks, 96, 0, stream, rounds, values);
}
void rotate_grid(Stream stream, unsigned blocks, int rounds, int* values) {
  ATROUS_LAUNCH_COOPERATIVE(rotate_grid_kernel, blocks, 64, 0, stream, rounds, values);
}
void warp_functions(Stream stream, const unsigned* values, unsigned* results) {
  ATROUS_LAUNCH(warp_kernel, 1, 32, 0, stream, values, results);
}
void multiply_bf16(Stream stream, const bf16* a, const bf16* b, float* d) {
  ATROUS_LAUNCH(multiply_bf16_kernel, 1, 32, 0, stream, a, b, d);
}
void multiply_tf32(Stream stream, const float* a, const float* b, float* d) {
  ATROUS_LAUNCH(multiply_tf32_kernel, 1, 32, 0, stream, a, b, d);
}
void multiply_wgmma(Stream stream, const bf16* a, const bf16* b, bool b_outer, float* d) {
  const TensorMap a_map = encode_tensor_map(boxes_of_rows(a, 1, 64, 64, 64)),
                  b_map = encode_tensor_map(b_outer ? boxes_of_rows(b, 1, 128, 64, 128)
                                                    : boxes_of_rows(b, 1, 64, 128, 64));
  constexpr int kBytes = 1024 + 192 * 128;
  ATROUS_CUDA_CHECK("test", cudaFuncSetAttribute(multiply_wgmma_kernel,
                                                 cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  ATROUS_LAUNCH(multiply_wgmma_kernel, 1, 128, kBytes, stream, a_map, b_map, b_outer, d);
}
void load_matrices(Stream stream, const std::uint16_t* tile, unsigned* x4, unsigned* x4_trans,
                   unsigned* x2_trans) {
  ATROUS_LAUNCH(load_matrices_kernel, 1, 32, 0, stream, tile, x4, x4_trans, x2_trans);
}
void copy_in_groups(Stream stream, const unsigned* source, unsigned* seen) {
  ATROUS_LAUNCH(copy_in_groups_kernel, 1, 1, 0, stream, source, seen);
}
void note_order(Stream stream, unsigned blocks, int* next, int* order) {
  ATROUS_LAUNCH(note_order_kernel, blocks, 1, 0, stream, next, order);
}
void add_one(Stream stream, int n, const int* from, int* to) {
  ATROUS_LAUNCH(add_one_kernel, unsigned(n + 31) / 32, 32, 0, stream, n, from, to);
}
void step_through(Stream stream, int step, int shared_step, const float* from, float* to) {
  ATROUS_LAUNCH(step_kernel, 1, 32, 0, stream, step, shared_step, from, to);
}

}  // namespace atrous::tests
