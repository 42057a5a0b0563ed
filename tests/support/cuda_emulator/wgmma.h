#pragma once

#include <cstdint>

#include "atrous/kernels/wgmma_layout.h"
#include "tests/support/cuda_emulator/launch.h"
#include "tests/support/cuda_emulator/warp.h"

// The twins of kernels/wgmma.cuh (wgmma.cpp): barriers that count arrivals and bytes, boxes of a tensor, and
// products out of shared memory through descriptors, each written from the PTX ISA and not from what kernels
// do.
//
// A product may be carried out at any moment between its request and the wait for its group: under the
// reverse schedule at once, else at the wait. So a stage that is filled again too early shows, and a sum that
// is read too early. Only the warp's own part of a warpgroup's product is computed: the warps do not meet.

namespace atrous::emu {

struct TensorMap {
  kernels::TensorBoxes boxes{};
};
inline TensorMap encode_tensor_map(const kernels::TensorBoxes& boxes) { return {boxes}; }
inline void prefetch_tensor_map(const TensorMap&) {}

/// Bytes from the start of the block's shared memory, which is at a multiple of 4096.
std::uint32_t shared_address(const void* p);

void mbarrier_init(std::uint64_t* barrier, std::uint32_t arrivals);
void mbarrier_expect_bytes(std::uint64_t* barrier, std::uint32_t bytes);
void mbarrier_arrive(std::uint64_t* barrier);
void mbarrier_wait(std::uint64_t* barrier, std::uint32_t parity, ATROUS_EMU_HERE);
inline void fence_barrier_init() {}
inline void fence_proxy_async() {}

void copy_box(void* to, const TensorMap& map, int first, int second, int third, std::uint64_t* barrier);

template <int kRegisters>
void give_registers() {}
template <int kRegisters>
void take_registers() {}

void request_wgmma(float* d, int columns, bool transposed, std::uint64_t a, std::uint64_t b);
void wait_for_wgmma(unsigned keep, const char* file, int line);

inline void wgmma_fence() {}
void wgmma_commit(ATROUS_EMU_HERE);
template <int kKeep>
void wgmma_wait(ATROUS_EMU_HERE) {
  wait_for_wgmma(kKeep, f, l);
}
template <int kCount>
void fence_operands(float (&)[kCount]) {}
template <int kTransposed, int kCount>
void wgmma_bf16(float (&d)[kCount], std::uint64_t a, std::uint64_t b) {
  request_wgmma(d, kCount * 2, kTransposed != 0, a, b);
}

}  // namespace atrous::emu
