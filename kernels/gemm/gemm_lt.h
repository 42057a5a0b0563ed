#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <type_traits>

#include "atrous/core/cuda_check.h"
#include "atrous/core/dtype.h"
#include "atrous/kernels/gemm/gemm.h"

// The product through cuBLASLt, which adds a bias and takes the positive part before it writes. Its matrices
// are column-major: row-major c = op(a) op(b) is column-major c' = op(b)' op(a)' in the same memory, so the
// factors change places, and the bias over c's columns is one over the rows of c'.
//
// Which of its kernels runs is asked of its heuristics once for each shape, first answer, and kept. Sums that
// are cut into slices must be added up in a separate step from the workspace: then a shape's bits repeat.
// They are the same on one model of GPU and version of cuBLAS, as cuBLAS's are.

namespace atrous::kernels::cuda {

/// What decides on a kernel of cuBLASLt.
struct LtProblem {
  Dtype dtype;
  GemmDims dims;
  bool bias, relu;
  std::size_t workspace;    // bytes that it may use
  std::uint32_t alignment;  // of all matrices, in bytes

  auto key() const {
    return std::tuple(dtype, dims.rows, dims.columns, dims.depth, dims.transpose_a, dims.transpose_b,
                      dims.allow_tf32, bias, relu, workspace, alignment);
  }
  bool operator<(const LtProblem& other) const { return key() < other.key(); }
};

/// cuBLASLt's descriptions of a problem, and the kernel that it chose.
class LtPlan {
 public:
  LtPlan(cublasLtHandle_t handle, const LtProblem& p) {
    const cudaDataType_t type = p.dtype == Dtype::f32 ? CUDA_R_32F : CUDA_R_16BF;
    const GemmDims& d = p.dims;
    make(desc_, cublasLtMatmulDescCreate,
         p.dtype == Dtype::f32 && d.allow_tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
         CUDA_R_32F);
    set(CUBLASLT_MATMUL_DESC_TRANSA, std::int32_t(d.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N));
    set(CUBLASLT_MATMUL_DESC_TRANSB, std::int32_t(d.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N));
    set(CUBLASLT_MATMUL_DESC_EPILOGUE,
        std::uint32_t(p.bias   ? p.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS
                      : p.relu ? CUBLASLT_EPILOGUE_RELU
                               : CUBLASLT_EPILOGUE_DEFAULT));
    // The heuristics read the alignment of the bias off its address.
    if (p.bias) set_bias(reinterpret_cast<const void*>(std::uintptr_t(p.alignment)));
    layout(first_, type, d.transpose_b, d.columns, d.depth);
    layout(second_, type, d.transpose_a, d.depth, d.rows);
    layout(result_, type, false, d.columns, d.rows);

    Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy> preference;
    make(preference, cublasLtMatmulPreferenceCreate);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t which, auto value) {
      ATROUS_CUBLAS_CHECK(
          "gemm", cublasLtMatmulPreferenceSetAttribute(preference.get(), which, &value, sizeof value));
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t(p.workspace));
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           std::uint32_t(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    for (const auto which :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      prefer(which, p.alignment);
    int found = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle, desc_.get(), first_.get(), second_.get(), result_.get(),
                                       result_.get(), preference.get(), 1, &chosen_, &found);
    exists_ = status == CUBLAS_STATUS_SUCCESS && found > 0 && chosen_.state == CUBLAS_STATUS_SUCCESS;
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) ATROUS_CUBLAS_CHECK("gemm", status);
  }

  /// Whether cuBLASLt has a kernel for the problem.
  bool exists() const { return exists_; }

  void run(cublasLtHandle_t handle, cudaStream_t stream, const void* a, const void* b, const void* bias,
           void* workspace, std::size_t bytes, void* c) {
    const float one = 1, zero = 0;
    if (bias) set_bias(bias);
    ATROUS_CUBLAS_CHECK(
        "gemm", cublasLtMatmul(handle, desc_.get(), &one, b, first_.get(), a, second_.get(), &zero, c,
                               result_.get(), c, result_.get(), &chosen_.algo, workspace, bytes, stream));
  }

 private:
  // A descriptor, destroyed with the plan.
  template <class Handle, cublasStatus_t (*kDestroy)(Handle)>
  struct Destroy {
    using pointer = Handle;
    void operator()(Handle h) const { static_cast<void>(kDestroy(h)); }
  };
  template <class Handle, cublasStatus_t (*kDestroy)(Handle)>
  using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<Handle, kDestroy>>;
  using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;

  template <class To, class Create, class... Args>
  static void make(To& to, Create create, Args... args) {
    typename To::pointer made = nullptr;
    ATROUS_CUBLAS_CHECK("gemm", create(&made, args...));
    to.reset(made);
  }
  template <class Value>
  void set(cublasLtMatmulDescAttributes_t which, Value value) {
    ATROUS_CUBLAS_CHECK("gemm", cublasLtMatmulDescSetAttribute(desc_.get(), which, &value, sizeof value));
  }
  void set_bias(const void* bias) { set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias); }
  // rows x columns of the product, transposed in memory if told so.
  static void layout(Layout& to, cudaDataType_t type, bool transposed, std::int64_t rows,
                     std::int64_t columns) {
    if (transposed) std::swap(rows, columns);
    make(to, cublasLtMatrixLayoutCreate, type, std::uint64_t(rows), std::uint64_t(columns), rows);
  }

  Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy> desc_;
  Layout first_, second_, result_;
  cublasLtMatmulHeuristicResult_t chosen_{};
  bool exists_ = false;
};

/// cuBLASLt on one device for one thread of the host, with the plans made so far.
class LtProducts {
 public:
  LtProducts() { ATROUS_CUBLAS_CHECK("gemm", cublasLtCreate(&handle_)); }
  LtProducts(const LtProducts&) = delete;
  LtProducts& operator=(const LtProducts&) = delete;
  ~LtProducts() { static_cast<void>(cublasLtDestroy(handle_)); }

  /// c = the product with its epilogue; false if cuBLASLt has no kernel for it, and nothing was done.
  template <class T>
  bool run(cudaStream_t stream, const GemmDims& dims, const T* a, const T* b, const GemmEpilogue<T>& epilogue,
           void* workspace, std::size_t bytes, T* c) {
    const auto in_chunks = [](const T* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; };
    const bool chunked = in_chunks(a) && in_chunks(b) && in_chunks(c) && in_chunks(epilogue.bias.data());
    const LtProblem problem{.dtype = dtype_of<T>(),
                            .dims = dims,
                            .bias = !epilogue.bias.empty(),
                            .relu = epilogue.relu,
                            .workspace = bytes,
                            .alignment = chunked ? 16 : std::uint32_t(sizeof(T))};
    auto at = plans_.find(problem);
    if (at == plans_.end()) at = plans_.emplace(problem, LtPlan(handle_, problem)).first;
    if (!at->second.exists()) return false;
    at->second.run(handle_, stream, a, b, epilogue.bias.data(), workspace, bytes, c);
    return true;
  }

 private:
  cublasLtHandle_t handle_ = nullptr;
  std::map<LtProblem, LtPlan> plans_;
};

}  // namespace atrous::kernels::cuda
