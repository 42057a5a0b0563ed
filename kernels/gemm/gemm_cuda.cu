#include <cublas_v2.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <type_traits>

#include "atrous/kernels/cuda.cuh"
#include "atrous/kernels/for_each_cuda.cuh"
#include "atrous/kernels/gemm/gemm.h"
#include "atrous/kernels/gemm/gemm_body.h"
#include "atrous/kernels/gemm/gemm_lt.h"

// Products of float and bf16 through cuBLASLt (gemm_lt.h). Those of double, and what cuBLASLt has no kernel
// for, through cuBLAS, and a pass over c behind it if there is an epilogue. cuBLAS's matrices are
// column-major: row-major c = op(a) op(b) is column-major c' = op(b)' op(a)' in the same memory, so the
// factors change places and nothing else.

namespace atrous::kernels::cuda {
namespace {

// What cuBLAS and cuBLASLt keep for each device, and thread of the host: handles are not shared, so no lock
// is needed.
struct Libraries {
  cublasHandle_t cublas = nullptr;
  LtProducts lt;

  Libraries() { ATROUS_CUBLAS_CHECK("gemm", cublasCreate(&cublas)); }
  Libraries(const Libraries&) = delete;
  Libraries& operator=(const Libraries&) = delete;
  ~Libraries() { static_cast<void>(cublasDestroy(cublas)); }
};

Libraries& libraries_of(Device device) {
  static thread_local std::map<int, Libraries> all;
  detail::use_device(device.index);
  return all[device.index];
}

// The part of a workspace that lies at a multiple of 256 bytes, as cuBLAS wants it.
struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;

  template <class T>
  explicit Workspace(Span<T> whole) {
    auto begin = reinterpret_cast<std::uintptr_t>(whole.data());
    const std::uintptr_t end = begin + std::uintptr_t(whole.size()) * sizeof(T);
    begin = (begin + 255) / 256 * 256;
    if (begin >= end) return;
    data = reinterpret_cast<void*>(begin);
    // No more than what it is made for: how it lies decides on no algorithm.
    bytes = std::min<std::size_t>(end - begin, std::size_t(kCublasWorkspace));
  }
};

template <class T>
constexpr cudaDataType kType = std::is_same_v<T, double>  ? CUDA_R_64F
                               : std::is_same_v<T, float> ? CUDA_R_32F
                                                          : CUDA_R_16BF;

template <class T>
cublasComputeType_t compute_type(const GemmDims& d) {
  if (std::is_same_v<T, double>) return CUBLAS_COMPUTE_64F;
  return std::is_same_v<T, float> && d.allow_tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

template <class T>
void cublas_gemm(Stream stream, const GemmDims& d, const T* a, const T* b, const Workspace& workspace, T* c) {
  const cublasHandle_t handle = libraries_of(stream.device).cublas;
  // cuBLAS repeats its bits only with a workspace of its caller's, and forgets it when the stream is set.
  ATROUS_CUBLAS_CHECK("gemm", cublasSetStream(handle, static_cast<cudaStream_t>(stream.handle)));
  ATROUS_CUBLAS_CHECK("gemm", cublasSetWorkspace(handle, workspace.data, workspace.bytes));
  const Accumulator<T> one = 1, zero = 0;
  ATROUS_CUBLAS_CHECK("gemm", cublasGemmEx_64(handle, d.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                                              d.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, d.columns, d.rows,
                                              d.depth, &one, b, kType<T>, d.transpose_b ? d.depth : d.columns,
                                              a, kType<T>, d.transpose_a ? d.rows : d.depth, &zero, c,
                                              kType<T>, d.columns, compute_type<T>(d), CUBLAS_GEMM_DEFAULT));
}

}  // namespace

template <class T>
void gemm_with_epilogue(Stream stream, const GemmDims& d, Span<const T> a, Span<const T> b,
                        const GemmEpilogue<T>& epilogue, Span<T> workspace, Span<T> c) {
  if (c.empty()) return;
  const auto handle = static_cast<cudaStream_t>(stream.handle);
  if (d.depth == 0) {
    ATROUS_CUDA_CHECK("gemm", cudaMemsetAsync(c.data(), 0, std::size_t(c.size()) * sizeof(T), handle));
  } else {
    const Workspace aligned(workspace);
    if constexpr (!std::is_same_v<T, double>)
      if (libraries_of(stream.device)
              .lt.run(handle, d, a.data(), b.data(), epilogue, aligned.data, aligned.bytes, c.data()))
        return;
    cublas_gemm(stream, d, a.data(), b.data(), aligned, c.data());
  }
  if (!epilogue.empty()) for_each(stream, c.size(), GemmEpiloguePass<T>{d.columns, epilogue, c});
}
ATROUS_INSTANTIATE(gemm_with_epilogue);

template <class T>
void gemm(Stream stream, const GemmDims& d, Span<const T> a, Span<const T> b, Span<T> workspace, Span<T> c) {
  gemm_with_epilogue<T>(stream, d, a, b, {}, workspace, c);
}
ATROUS_INSTANTIATE(gemm);

}  // namespace atrous::kernels::cuda
