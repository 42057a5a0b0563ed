#include <cublas_v2.h>

#include <cstdint>
#include <map>
#include <type_traits>

#include "atrous/kernels/cuda.cuh"
#include "atrous/kernels/gemm/gemm.h"

// The product through cuBLAS, whose matrices are column-major: row-major c = op(a) op(b) is column-major
// c' = op(b)' op(a)' in the same memory, so the factors change places and nothing else.

namespace atrous::kernels::cuda {
namespace {

// A handle for each device and thread of the host: handles are not shared, so no lock is needed.
class Handles {
 public:
  Handles() = default;
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;
  ~Handles() {
    for (const auto& [index, handle] : handles_) static_cast<void>(cublasDestroy(handle));
  }
  cublasHandle_t of(int index) {
    detail::use_device(index);
    cublasHandle_t& handle = handles_[index];
    if (!handle) ATROUS_CUBLAS_CHECK("gemm", cublasCreate(&handle));
    return handle;
  }

 private:
  std::map<int, cublasHandle_t> handles_;
};

// The handle of this thread, on this stream, with this workspace. cuBLAS repeats its bits only with a
// workspace of its caller's, and forgets it when the stream is set.
cublasHandle_t handle_for(Stream stream, void* workspace, std::size_t bytes) {
  static thread_local Handles handles;
  const cublasHandle_t handle = handles.of(stream.device.index);
  ATROUS_CUBLAS_CHECK("gemm", cublasSetStream(handle, static_cast<cudaStream_t>(stream.handle)));
  ATROUS_CUBLAS_CHECK("gemm", cublasSetWorkspace(handle, workspace, bytes));
  return handle;
}

template <class T>
constexpr cudaDataType kType = std::is_same_v<T, double>  ? CUDA_R_64F
                               : std::is_same_v<T, float> ? CUDA_R_32F
                                                          : CUDA_R_16BF;

template <class T>
cublasComputeType_t compute_type(const GemmDims& d) {
  if (std::is_same_v<T, double>) return CUBLAS_COMPUTE_64F;
  return std::is_same_v<T, float> && d.allow_tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

}  // namespace

template <class T>
void gemm(Stream stream, const GemmDims& d, Span<const T> a, Span<const T> b, Span<T> workspace, Span<T> c) {
  if (c.empty()) return;
  if (d.depth == 0) {
    ATROUS_CUDA_CHECK("gemm", cudaMemsetAsync(c.data(), 0, std::size_t(c.size()) * sizeof(T),
                                              static_cast<cudaStream_t>(stream.handle)));
    return;
  }
  // cuBLAS wants its workspace at a multiple of 256 bytes.
  auto begin = reinterpret_cast<std::uintptr_t>(workspace.data());
  const std::uintptr_t end = begin + std::uintptr_t(workspace.size()) * sizeof(T);
  begin = (begin + 255) / 256 * 256;
  const std::size_t bytes = begin < end ? end - begin : 0;
  const cublasHandle_t handle = handle_for(stream, bytes ? reinterpret_cast<void*>(begin) : nullptr, bytes);
  const Accumulator<T> one = 1, zero = 0;
  ATROUS_CUBLAS_CHECK(
      "gemm", cublasGemmEx_64(handle, d.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                              d.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, d.columns, d.rows, d.depth, &one,
                              b.data(), kType<T>, d.transpose_b ? d.depth : d.columns, a.data(), kType<T>,
                              d.transpose_a ? d.rows : d.depth, &zero, c.data(), kType<T>, d.columns,
                              compute_type<T>(d), CUBLAS_GEMM_DEFAULT));
}
ATROUS_INSTANTIATE(gemm);

}  // namespace atrous::kernels::cuda
