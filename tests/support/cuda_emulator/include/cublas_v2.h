#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/support/cuda_emulator/include/cuda_runtime.h"

// The part of cuBLAS that atrous uses, in plain loops over device memory (cublas.cpp). Names, values and
// meanings are cuBLAS's: column-major matrices, c = alpha op(a) op(b) + beta c, op(a) of m rows and k
// columns.

enum cublasStatus_t {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_NOT_INITIALIZED = 1,
  CUBLAS_STATUS_INVALID_VALUE = 7,
  CUBLAS_STATUS_EXECUTION_FAILED = 13,
  CUBLAS_STATUS_NOT_SUPPORTED = 15
};
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cudaDataType { CUDA_R_32F = 0, CUDA_R_64F = 1, CUDA_R_16BF = 14 };
using cudaDataType_t = cudaDataType;
enum cublasComputeType_t {
  CUBLAS_COMPUTE_32F = 68,
  CUBLAS_COMPUTE_64F = 70,
  CUBLAS_COMPUTE_32F_FAST_TF32 = 77
};
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };
enum cublasMath_t { CUBLAS_DEFAULT_MATH = 0, CUBLAS_PEDANTIC_MATH = 2, CUBLAS_TF32_TENSOR_OP_MATH = 3 };

struct cublasContext;
using cublasHandle_t = cublasContext*;

cublasStatus_t cublasCreate(cublasHandle_t* handle);
cublasStatus_t cublasDestroy(cublasHandle_t handle);
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream);
cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* workspace, std::size_t bytes);
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode);
const char* cublasGetStatusString(cublasStatus_t status);

cublasStatus_t cublasGemmStridedBatchedEx_64(
    cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, std::int64_t m, std::int64_t n,
    std::int64_t k, const void* alpha, const void* a, cudaDataType type_a, std::int64_t lda,
    long long stride_a, const void* b, cudaDataType type_b, std::int64_t ldb, long long stride_b,
    const void* beta, void* c, cudaDataType type_c, std::int64_t ldc, long long stride_c, std::int64_t batch,
    cublasComputeType_t compute, cublasGemmAlgo_t algo);
inline cublasStatus_t cublasGemmEx_64(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                                      std::int64_t m, std::int64_t n, std::int64_t k, const void* alpha,
                                      const void* a, cudaDataType type_a, std::int64_t lda, const void* b,
                                      cudaDataType type_b, std::int64_t ldb, const void* beta, void* c,
                                      cudaDataType type_c, std::int64_t ldc, cublasComputeType_t compute,
                                      cublasGemmAlgo_t algo) {
  return cublasGemmStridedBatchedEx_64(handle, op_a, op_b, m, n, k, alpha, a, type_a, lda, 0, b, type_b, ldb,
                                       0, beta, c, type_c, ldc, 0, 1, compute, algo);
}
inline cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                                   int m, int n, int k, const void* alpha, const void* a, cudaDataType type_a,
                                   int lda, const void* b, cudaDataType type_b, int ldb, const void* beta,
                                   void* c, cudaDataType type_c, int ldc, cublasComputeType_t compute,
                                   cublasGemmAlgo_t algo) {
  return cublasGemmEx_64(handle, op_a, op_b, m, n, k, alpha, a, type_a, lda, b, type_b, ldb, beta, c, type_c,
                         ldc, compute, algo);
}
