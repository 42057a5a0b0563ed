#include <cstdio>

#include "tests/support/cuda_emulator/cublas_matrix.h"
#include "tests/support/cuda_emulator/include/cublas_v2.h"

// The twin of cuBLAS. Arguments are checked as cuBLAS checks them, and further: matrices must lie inside
// allocations, factors must have been written.

struct cublasContext {
  cudaStream_t stream = nullptr;
};

using namespace atrous::emu;  // NOLINT: what follows are cuBLAS's names

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* workspace, std::size_t bytes) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (bytes > 0 && (!inside_device(workspace, bytes) || reinterpret_cast<std::uintptr_t>(workspace) % 256))
    return CUBLAS_STATUS_INVALID_VALUE;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t) {
  return handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}
const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "the operation completed successfully";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "the library was not initialized";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "the function failed to launch on the GPU";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "the functionality requested is not supported";
  }
  return "unknown status";
}

cublasStatus_t cublasGemmStridedBatchedEx_64(
    cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, std::int64_t m, std::int64_t n,
    std::int64_t k, const void* alpha, const void* a, cudaDataType type_a, std::int64_t lda,
    long long stride_a, const void* b, cudaDataType type_b, std::int64_t ldb, long long stride_b,
    const void* beta, void* c, cudaDataType type_c, std::int64_t ldc, long long stride_c, std::int64_t batch,
    cublasComputeType_t compute, cublasGemmAlgo_t) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (m < 0 || n < 0 || k < 0 || batch < 0 || !alpha || !beta) return CUBLAS_STATUS_INVALID_VALUE;
  const bool wide = compute == CUBLAS_COMPUTE_64F;
  if (type_a != type_b || wide != (type_a == CUDA_R_64F) || wide != (type_c == CUDA_R_64F))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  if (m == 0 || n == 0 || batch == 0) return CUBLAS_STATUS_SUCCESS;
  const bool transpose_a = op_a == CUBLAS_OP_T, transpose_b = op_b == CUBLAS_OP_T;
  const Matrix left{static_cast<const char*>(a), type_a, transpose_a ? k : m,
                    transpose_a ? m : k,         lda,    stride_a};
  const Matrix right{static_cast<const char*>(b), type_b, transpose_b ? n : k,
                     transpose_b ? k : n,         ldb,    stride_b};
  const Matrix result{static_cast<const char*>(c), type_c, m, n, ldc, stride_c};
  double scale[2];
  const void* scales[2] = {alpha, beta};
  for (int i = 0; i < 2; ++i)
    scale[i] = load<double>(static_cast<const char*>(scales[i]), wide ? CUDA_R_64F : CUDA_R_32F);
  // What the factors hold is known when the stream comes here; where they lie, now.
  if (!usable("cublasGemmEx", "a", left, batch, false) || !usable("cublasGemmEx", "b", right, batch, false) ||
      !usable("cublasGemmEx", "c", result, batch, false))
    return CUBLAS_STATUS_INVALID_VALUE;
  note_callers();
  submit(handle->stream, [=] {
    if (!usable("cublasGemmEx", "a", left, batch, true) || !usable("cublasGemmEx", "b", right, batch, true) ||
        !usable("cublasGemmEx", "c", result, batch, scale[1] != 0)) {
      failed(cudaErrorLaunchFailure);
      return;
    }
    if (wide)
      multiply<double>(left, transpose_a, right, transpose_b, result, k, scale[0], scale[1], batch, false,
                       [](double sum, std::int64_t) { return sum; });
    else
      multiply<float>(left, transpose_a, right, transpose_b, result, k, float(scale[0]), float(scale[1]),
                      batch, compute == CUBLAS_COMPUTE_32F_FAST_TF32 && type_a == CUDA_R_32F,
                      [](float sum, std::int64_t) { return sum; });
  });
  return CUBLAS_STATUS_SUCCESS;
}
