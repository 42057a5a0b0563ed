#pragma once

#include <cstring>
#include <type_traits>

#include "tests/support/cuda_emulator/atomics.h"
#include "tests/support/cuda_emulator/launch.h"

// Barriers and warp functions.

inline void __syncthreads(const char* f = __builtin_FILE(), int l = __builtin_LINE()) {
  atrous::emu::syncthreads(f, l);
}
inline int __syncthreads_count(int p, const char* f = __builtin_FILE(), int l = __builtin_LINE()) {
  return atrous::emu::syncthreads_count(p, 0, f, l);
}
inline int __syncthreads_and(int p, const char* f = __builtin_FILE(), int l = __builtin_LINE()) {
  return atrous::emu::syncthreads_count(p, 1, f, l);
}
inline int __syncthreads_or(int p, const char* f = __builtin_FILE(), int l = __builtin_LINE()) {
  return atrous::emu::syncthreads_count(p, 2, f, l);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace atrous::emu::detail {
template <class T>
struct Shfl {
  T v;
  T out;
  int src;
  bool ok;
};
template <class T>
ATROUS_EMU_UNSEEN void shfl_combine(void* const* l, unsigned mask) {
  for (unsigned i = 0; i < 32; ++i)
    if (mask >> i & 1) {
      auto* s = static_cast<Shfl<T>*>(l[i]);
      if (s->src < 0 || !(mask >> s->src & 1)) {
        s->ok = false;
        std::memset(&s->out, 0xff, sizeof(T));
        continue;
      }
      s->ok = true;
      s->out = static_cast<Shfl<T>*>(l[s->src])->v;
    }
}
template <class T>
T shfl(unsigned mask, T v, int src, const char* what, const char* f, int l) {
  static_assert(std::is_trivially_copyable_v<T>);
  Shfl<T> s{v, v, src, true};
  warp_collective(mask, &s, &shfl_combine<T>, what, f, l);
  if (!s.ok)
    device_fail("%s reads lane %d, which did not take part (mask %08x) at %s:%d", what, src, mask, f, l);
  return s.out;
}
struct Vote {
  unsigned pred, out;
};
ATROUS_EMU_UNSEEN inline void ballot_combine(void* const* l, unsigned mask) {
  unsigned r = 0;
  for (unsigned i = 0; i < 32; ++i)
    if (mask >> i & 1) r |= (static_cast<Vote*>(l[i])->pred ? 1u : 0u) << i;
  for (unsigned i = 0; i < 32; ++i)
    if (mask >> i & 1) static_cast<Vote*>(l[i])->out = r;
}
template <class T>
struct Match {
  T v;
  unsigned out;
};
template <class T>
ATROUS_EMU_UNSEEN void match_combine(void* const* l, unsigned mask) {
  for (unsigned i = 0; i < 32; ++i)
    if (mask >> i & 1) {
      unsigned r = 0;
      for (unsigned j = 0; j < 32; ++j)
        if (mask >> j & 1)
          r |= unsigned(!std::memcmp(&static_cast<Match<T>*>(l[i])->v, &static_cast<Match<T>*>(l[j])->v,
                                     sizeof(T)))
               << j;
      static_cast<Match<T>*>(l[i])->out = r;
    }
}
struct Red {
  unsigned v, out;
};
template <int OP>
ATROUS_EMU_UNSEEN void red_combine(void* const* l, unsigned mask) {
  bool first = true;
  unsigned r = 0;
  for (unsigned i = 0; i < 32; ++i)
    if (mask >> i & 1) {
      unsigned v = static_cast<Red*>(l[i])->v;
      if (first)
        r = v;
      else
        r = OP == 0   ? r + v
            : OP == 1 ? (v < r ? v : r)
            : OP == 2 ? (v > r ? v : r)
            : OP == 3 ? (r & v)
                      : (r | v);
      first = false;
    }
  for (unsigned i = 0; i < 32; ++i)
    if (mask >> i & 1) static_cast<Red*>(l[i])->out = r;
}
inline void nop_combine(void* const*, unsigned) {}
}  // namespace atrous::emu::detail

#define ATROUS_EMU_HERE const char *f = __builtin_FILE(), int l = __builtin_LINE()
inline void __syncwarp(unsigned mask = 0xffffffffu, ATROUS_EMU_HERE) {
  atrous::emu::warp_collective(mask, nullptr, &atrous::emu::detail::nop_combine, "__syncwarp", f, l);
}
template <class T>
T __shfl_sync(unsigned m, T v, int src, int w = 32, ATROUS_EMU_HERE) {
  int lane = int(atrous::emu::lane_id()), base = lane & ~(w - 1);
  return atrous::emu::detail::shfl(m, v, base + (src & (w - 1)), "__shfl_sync", f, l);
}
template <class T>
T __shfl_xor_sync(unsigned m, T v, int x, int w = 32, ATROUS_EMU_HERE) {
  int lane = int(atrous::emu::lane_id()), t = lane ^ x;
  if ((t & ~(w - 1)) > (lane & ~(w - 1))) t = lane;
  return atrous::emu::detail::shfl(m, v, t, "__shfl_xor_sync", f, l);
}
template <class T>
T __shfl_down_sync(unsigned m, T v, unsigned d, int w = 32, ATROUS_EMU_HERE) {
  int lane = int(atrous::emu::lane_id()), t = lane + int(d);
  if (t > (lane | (w - 1))) t = lane;
  return atrous::emu::detail::shfl(m, v, t, "__shfl_down_sync", f, l);
}
template <class T>
T __shfl_up_sync(unsigned m, T v, unsigned d, int w = 32, ATROUS_EMU_HERE) {
  int lane = int(atrous::emu::lane_id()), t = lane - int(d);
  if (t < (lane & ~(w - 1))) t = lane;
  return atrous::emu::detail::shfl(m, v, t, "__shfl_up_sync", f, l);
}
inline unsigned __ballot_sync(unsigned m, int p, ATROUS_EMU_HERE) {
  atrous::emu::detail::Vote v{unsigned(p != 0), 0};
  atrous::emu::warp_collective(m, &v, &atrous::emu::detail::ballot_combine, "__ballot_sync", f, l);
  return v.out;
}
inline int __any_sync(unsigned m, int p, ATROUS_EMU_HERE) { return __ballot_sync(m, p, f, l) != 0; }
inline int __all_sync(unsigned m, int p, ATROUS_EMU_HERE) {
  atrous::emu::detail::Vote v{unsigned(p == 0), 0};
  atrous::emu::warp_collective(m, &v, &atrous::emu::detail::ballot_combine, "__all_sync", f, l);
  return v.out == 0;
}
template <class T>
unsigned __match_any_sync(unsigned m, T x, ATROUS_EMU_HERE) {
  atrous::emu::detail::Match<T> v{x, 0};
  atrous::emu::warp_collective(m, &v, &atrous::emu::detail::match_combine<T>, "__match_any_sync", f, l);
  return v.out;
}
inline unsigned __reduce_add_sync(unsigned m, unsigned x, ATROUS_EMU_HERE) {
  atrous::emu::detail::Red v{x, 0};
  atrous::emu::warp_collective(m, &v, &atrous::emu::detail::red_combine<0>, "__reduce_add_sync", f, l);
  return v.out;
}
