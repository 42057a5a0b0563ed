#pragma once

#include "atrous/kernels/cuda.cuh"
#include "atrous/kernels/mma.cuh"
#include "atrous/kernels/wgmma_layout.h"

// What sm_90a adds: products by a warpgroup out of shared memory (wgmma), copies of boxes of a tensor by the
// copy engine (TMA), and barriers in shared memory that count bytes (mbarrier). Inline PTX on a device of
// compute capability 9.0, computed by the emulator in the tests. The names are those of the PTX ISA.
//
// Two kinds of access ("proxies") meet in shared memory: loads, stores and cp.async are generic, wgmma and
// bulk copies are async. A generic write that an async read follows needs fence_proxy_async() by the thread
// that wrote, before the barrier that tells of it. The other way round nothing is needed: completion of an
// async access, once observed, orders generic ones behind it.
//
// Registers of a warpgroup's product of 64 rows: warp w of four owns rows 16w..16w+15; of its lane 4*g + t,
// register 4*j + i is row g (+8 for i >= 2), column 8*j + 2*t + (i & 1): each eight columns as in mma.cuh.

#if defined(ATROUS_CUDA_EMULATED)
#include <emulated_wgmma.h>
#else
#include <cuda.h>  // the type of a tensor map and enums; no function of the driver is linked
#endif

namespace atrous::kernels::cuda {

/// TensorBoxes as the copy engine reads them, in a parameter of the kernel (__grid_constant__). Throws
/// CudaError if the driver refuses them.
#if defined(ATROUS_CUDA_EMULATED)

using TensorMap = emu::TensorMap;
using emu::copy_box;
using emu::encode_tensor_map;
using emu::fence_barrier_init;
using emu::fence_operands;
using emu::fence_proxy_async;
using emu::give_registers;
using emu::mbarrier_arrive;
using emu::mbarrier_expect_bytes;
using emu::mbarrier_init;
using emu::mbarrier_wait;
using emu::prefetch_tensor_map;
using emu::shared_address;
using emu::take_registers;
using emu::wgmma_bf16;
using emu::wgmma_commit;
using emu::wgmma_fence;
using emu::wgmma_wait;

#else

using TensorMap = CUtensorMap;

/// The function of the driver is asked for by name: the library is not linked with it.
inline TensorMap encode_tensor_map(const TensorBoxes& boxes) {
  using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                              const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                              CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
  static const Encode encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    ATROUS_CUDA_CHECK("tensor map", cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                                     12000, cudaEnableDefault, &found));
    if (found != cudaDriverEntryPointSuccess || function == nullptr)
      atrous::detail::cuda_failed("tensor map", cudaErrorSymbolNotFound, __FILE__, __LINE__);
    return reinterpret_cast<Encode>(function);
  }();
  const cuuint64_t sizes[3] = {boxes.sizes[0], boxes.sizes[1], boxes.sizes[2]},
                   strides[2] = {boxes.strides[0], boxes.strides[1]};
  const cuuint32_t box[3] = {boxes.box[0], boxes.box[1], boxes.box[2]}, every[3] = {1, 1, 1};
  TensorMap map;
  const CUresult result =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void*>(boxes.data), sizes, strides, box,
             every, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    atrous::detail::cuda_failed("tensor map", cudaErrorInvalidValue, __FILE__, __LINE__);
  return map;
}

__device__ __forceinline__ void prefetch_tensor_map(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];\n" ::"l"(&map) : "memory");
}

// ---- barriers in shared memory: a phase completes when `arrivals` threads have arrived and all expected
// bytes

__device__ __forceinline__ void mbarrier_init(std::uint64_t* barrier, std::uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(shared_address(barrier)), "r"(arrivals)
               : "memory");
}
/// After mbarrier_init, before the barrier of the block: the copy engine sees the barriers too.
__device__ __forceinline__ void fence_barrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
}
/// The phase also waits for so many bytes of bulk copies. By a thread that has yet to arrive in this phase.
__device__ __forceinline__ void mbarrier_expect_bytes(std::uint64_t* barrier, std::uint32_t bytes) {
  asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;\n" ::"r"(shared_address(barrier)),
               "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void mbarrier_arrive(std::uint64_t* barrier) {
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];\n" ::"r"(shared_address(barrier))
               : "memory");
}
/// Waits until the phase of this parity has completed: of phases 0, 1, 2.. those with the parity of their
/// number. The phase before the first has parity 1.
__device__ __forceinline__ void mbarrier_wait(std::uint64_t* barrier, std::uint32_t parity) {
  std::uint32_t done = 0;
  while (done == 0)
    asm volatile(
        "{\n.reg .pred done;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n"
        "selp.u32 %0, 1, 0, done;\n}\n"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
}

/// Generic writes of this thread to shared memory come before async reads that are ordered behind it.
__device__ __forceinline__ void fence_proxy_async() {
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}

/// One thread asks for the box that begins at element (first, second, third) of the map's tensor; its bytes,
/// zeros outside of the tensor included, count for `barrier`. `to` is at a multiple of kSwizzleAtom.
__device__ __forceinline__ void copy_box(void* to, const TensorMap& map, int first, int second, int third,
                                         std::uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, "
      "%4}], [%5];\n" ::"r"(shared_address(to)),
      "l"(&map), "r"(first), "r"(second), "r"(third), "r"(shared_address(barrier))
      : "memory");
}

// ---- registers: a warpgroup leaves some to the others. All of its warps ask for the same, a multiple of 8.

template <int kRegisters>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
}

// ---- wgmma: asked for by all four warps of a warpgroup, carried out later

/// Before the first wgmma_bf16 that follows other accesses to its registers.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory"); }
/// Closes a group of the products asked for so far.
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}
/// Waits until at most `kKeep` of the last groups are still being carried out.
template <int kKeep>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kKeep) : "memory");
}
/// Keeps the compiler from moving work on the sums across this place: it does not know that wgmma writes them
/// until wgmma_wait().
template <int kCount>
__device__ __forceinline__ void fence_operands(float (&d)[kCount]) {
  ATROUS_UNROLL
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

/// d += A B of bf16: A 64 x 16 of outer rows, B 16 x 128 (or 256): of outer rows, or with kTransposed of
/// depth rows.
// clang-format off: a register a place
template <int kTransposed>
__device__ __forceinline__ void wgmma_bf16(float (&d)[64], std::uint64_t a, std::uint64_t b) {
  asm volatile(
      "{\n.reg .pred add;\nsetp.eq.b32 add, 0, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, "
      "%64, %65, add, 1, 1, 0, %66;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]),
        "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]),
        "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]),
        "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]),
        "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]), "+f"(d[50]),
        "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]),
        "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
      : "l"(a), "l"(b), "n"(kTransposed));
}
template <int kTransposed>
__device__ __forceinline__ void wgmma_bf16(float (&d)[128], std::uint64_t a, std::uint64_t b) {
  asm volatile(
      "{\n.reg .pred add;\nsetp.eq.b32 add, 0, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
      "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"
      "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"
      "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,"
      "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}, "
      "%128, %129, add, 1, 1, 0, %130;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]),
        "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]),
        "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]),
        "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]),
        "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]), "+f"(d[50]),
        "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]),
        "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]), "+f"(d[64]),
        "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]),
        "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]),
        "+f"(d[79]), "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]),
        "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]),
        "+f"(d[93]), "+f"(d[94]), "+f"(d[95]), "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]),
        "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]), "+f"(d[104]), "+f"(d[105]), "+f"(d[106]),
        "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]), "+f"(d[112]), "+f"(d[113]),
        "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), "+f"(d[120]),
        "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
      : "l"(a), "l"(b), "n"(kTransposed));
}
// clang-format on

#endif

}  // namespace atrous::kernels::cuda
