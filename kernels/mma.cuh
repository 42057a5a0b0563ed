#pragma once

#include "atrous/kernels/cuda.cuh"

// Tensor-core instructions and asynchronous copies, from sm_80 on: inline PTX on a device, computed by the
// emulator in the tests.
//
// Fragments, as in the PTX ISA: lane = 4*g + t (g: group 0..7, t: place 0..3).
//   m16n8k16 bf16   a: element i is row g (+8 for i = 2, 3, 6, 7), column 2t + (i & 1) (+8 for i >= 4), two
//   elements a register
//                   b: row 2t + (i & 1) (+8 for i >= 2), column g
//   m16n8k8 tf32    a: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4);  b: (t, g), (t + 4, g)
//   d of both       row g (+8 for i >= 2), column 2t + (i & 1)
//   ldmatrix        register m of a lane: row g, columns 2t and 2t + 1 of matrix m, rows and columns swapped
//   in `trans`. Lane l brings
//                   the address of row l % 8 of matrix l / 8: 16 bytes, 16-byte aligned, in shared memory.

#if defined(ATROUS_CUDA_EMULATED)
#include <emulated_mma.h>
#endif

namespace atrous::kernels::cuda {

#if defined(ATROUS_CUDA_EMULATED)

using emu::cp_async_16;
using emu::cp_async_commit;
using emu::cp_async_wait;
using emu::ldmatrix_x2_trans;
using emu::ldmatrix_x4;
using emu::ldmatrix_x4_trans;
using emu::mma_m16n8k16_bf16;
using emu::mma_m16n8k8_tf32;
using emu::to_tf32;

#else

__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4],
                                                 const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ std::uint32_t to_tf32(float f) {
  std::uint32_t r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(f));
  return r;
}
__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_trans(std::uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];\n"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
// 16-byte copy global -> shared; src_bytes < 16 fills the rest with zero (padding for convolution halos)
__device__ __forceinline__ void cp_async_16(void* dst, const void* src, unsigned src_bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(dst)), "l"(src),
               "r"(src_bytes)
               : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
template <int Keep>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(Keep) : "memory");
}

#endif

}  // namespace atrous::kernels::cuda
