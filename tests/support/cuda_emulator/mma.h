#pragma once

#include <cstdint>
#include <cstring>

#include "tests/support/cuda_emulator/math.h"
#include "tests/support/cuda_emulator/warp.h"

// The twins of kernels/mma.cuh: tensor-core instructions, ldmatrix and cp.async, computed from the layouts of
// the PTX ISA. lane = 4*g + t: g is its group, t its place in the group.

namespace atrous::emu::detail {
struct MmaOp {
  const uint32_t* a;
  const uint32_t* b;
  float* d;
};
inline float half_bf16(uint32_t r, int hi) { return __uint_as_float(hi ? (r & 0xffff0000u) : (r << 16)); }
inline void mma_check(unsigned mask) {
  if (mask != 0xffffffffu) device_fail("mma needs all 32 lanes of the warp (mask %08x)", mask);
}

ATROUS_EMU_UNSEEN inline void mma_bf16_combine(void* const* l, unsigned mask) {
  mma_check(mask);
  if (mask != 0xffffffffu) return;
  float A[16][16], B[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    auto* o = static_cast<MmaOp*>(l[lane]);
    int g = lane >> 2, t = lane & 3;
    for (int i = 0; i < 8; ++i)  // a_i: row g (+8 for i = 2,3,6,7), column 2t + (i&1) (+8 for i >= 4)
      A[g + ((i >> 1 & 1) ? 8 : 0)][2 * t + (i & 1) + (i >= 4 ? 8 : 0)] = half_bf16(o->a[i >> 1], i & 1);
    for (int i = 0; i < 4; ++i)  // b_i: row 2t + (i&1) (+8 for i >= 2), column g
      B[2 * t + (i & 1) + (i >= 2 ? 8 : 0)][g] = half_bf16(o->b[i >> 1], i & 1);
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto* o = static_cast<MmaOp*>(l[lane]);
    int g = lane >> 2, t = lane & 3;
    for (int i = 0; i < 4; ++i) {  // c_i: row g (+8 for i >= 2), column 2t + (i&1)
      int r = g + (i >= 2 ? 8 : 0), c = 2 * t + (i & 1);
      float s = 0;
      for (int k = 0; k < 16; ++k) s += A[r][k] * B[k][c];
      o->d[i] += s;
    }
  }
}
ATROUS_EMU_UNSEEN inline void mma_tf32_combine(void* const* l, unsigned mask) {
  mma_check(mask);
  if (mask != 0xffffffffu) return;
  float A[16][8], B[8][8];
  auto cut = [](uint32_t r) { return __uint_as_float(r & 0xffffe000u); };  // the unit ignores the low 13 bits
  for (int lane = 0; lane < 32; ++lane) {
    auto* o = static_cast<MmaOp*>(l[lane]);
    int g = lane >> 2, t = lane & 3;
    A[g][t] = cut(o->a[0]);
    A[g + 8][t] = cut(o->a[1]);
    A[g][t + 4] = cut(o->a[2]);
    A[g + 8][t + 4] = cut(o->a[3]);
    B[t][g] = cut(o->b[0]);
    B[t + 4][g] = cut(o->b[1]);
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto* o = static_cast<MmaOp*>(l[lane]);
    int g = lane >> 2, t = lane & 3;
    for (int i = 0; i < 4; ++i) {
      int r = g + (i >= 2 ? 8 : 0), c = 2 * t + (i & 1);
      float s = 0;
      for (int k = 0; k < 8; ++k) s += A[r][k] * B[k][c];
      o->d[i] += s;
    }
  }
}
struct LdmOp {
  const void* row;
  uint32_t r[4];
};
template <int N, bool Trans>
ATROUS_EMU_UNSEEN void ldmatrix_combine(void* const* l, unsigned mask) {
  mma_check(mask);
  if (mask != 0xffffffffu) return;
  for (int m = 0; m < N; ++m) {
    uint16_t M[8][8];
    for (int r = 0; r < 8; ++r) std::memcpy(M[r], static_cast<LdmOp*>(l[m * 8 + r])->row, 16);
    for (int lane = 0; lane < 32; ++lane) {
      int g = lane >> 2, t = lane & 3;
      uint16_t lo = Trans ? M[2 * t][g] : M[g][2 * t], hi = Trans ? M[2 * t + 1][g] : M[g][2 * t + 1];
      static_cast<LdmOp*>(l[lane])->r[m] = uint32_t(hi) << 16 | lo;
    }
  }
}
}  // namespace atrous::emu::detail

namespace atrous::emu {

inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                              ATROUS_EMU_HERE) {
  detail::MmaOp o{a, b, d};
  warp_collective(0xffffffffu, &o, &detail::mma_bf16_combine, "mma.m16n8k16.bf16", f, l);
}
inline void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], ATROUS_EMU_HERE) {
  detail::MmaOp o{a, b, d};
  warp_collective(0xffffffffu, &o, &detail::mma_tf32_combine, "mma.m16n8k8.tf32", f, l);
}
inline uint32_t to_tf32(float x) {
  uint32_t u = __float_as_uint(x);
  return (u + 0x1000u) & 0xffffe000u;
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, ATROUS_EMU_HERE) {
  require_shared(row, 16, 16, "ldmatrix");
  note_access(row, 16, false);
  detail::LdmOp o{row, {}};
  warp_collective(0xffffffffu, &o, &detail::ldmatrix_combine<4, false>, "ldmatrix.x4", f, l);
  for (int i = 0; i < 4; ++i) r[i] = o.r[i];
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, ATROUS_EMU_HERE) {
  require_shared(row, 16, 16, "ldmatrix");
  note_access(row, 16, false);
  detail::LdmOp o{row, {}};
  warp_collective(0xffffffffu, &o, &detail::ldmatrix_combine<4, true>, "ldmatrix.x4.trans", f, l);
  for (int i = 0; i < 4; ++i) r[i] = o.r[i];
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row, ATROUS_EMU_HERE) {
  if (lane_id() < 16) {
    require_shared(row, 16, 16, "ldmatrix");
    note_access(row, 16, false);
  }
  detail::LdmOp o{row, {}};
  warp_collective(0xffffffffu, &o, &detail::ldmatrix_combine<2, true>, "ldmatrix.x2.trans", f, l);
  for (int i = 0; i < 2; ++i) r[i] = o.r[i];
}
__attribute__((noinline)) inline void cp_async_16(void* dst, const void* src, unsigned src_bytes = 16) {
  cp_async(dst, src, 16, src_bytes);
}
template <int Keep>
inline void cp_async_wait() {
  cp_async_wait(Keep);
}

}  // namespace atrous::emu
