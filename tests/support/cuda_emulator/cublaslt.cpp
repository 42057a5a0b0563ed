#include "tests/support/cuda_emulator/include/cublasLt.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "tests/support/cuda_emulator/cublas_matrix.h"

// The twin of cuBLASLt. An "algorithm" here is the problem that it was asked for: a product that runs it on
// another problem, on memory less aligned than promised or with a smaller workspace is refused, where the
// real library would fault or be wrong. One that cuts sums in a way whose order is not fixed is never asked
// for in silence: see determinism below.

struct cublasLtContext {};

struct cublasLtMatmulDescOpaque_t {
  cublasComputeType_t compute;
  cudaDataType scale;
  std::int32_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};

struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType type;
  std::int64_t rows, columns, leading;
};

struct cublasLtMatmulPreferenceOpaque_t {
  std::uint64_t workspace = 0;
  std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::uint32_t alignment[4] = {256, 256, 256, 256};  // of a, b, c, d
};

using namespace atrous::emu;  // NOLINT: what follows are cuBLASLt's names

namespace {

// What an algorithm was chosen for, in its 64 opaque bytes.
struct Chosen {
  std::uint32_t fingerprint;
  std::uint32_t alignment[4], bias_alignment;
  std::uint64_t workspace;
};
static_assert(sizeof(Chosen) <= sizeof(cublasLtMatmulAlgo_t));

// The twin's largest workspace: some algorithms take all of a few MB, so that a caller who gives less than it
// promised is found out.
constexpr std::uint64_t kWorkspace = 1 << 20;

std::uint32_t alignment_of(const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  return address == 0 ? 256 : std::uint32_t(std::min<std::uintptr_t>(address & -address, 256));
}

// FNV-1a over everything that decides on an algorithm.
class Fingerprint {
 public:
  Fingerprint& operator<<(std::int64_t value) {
    for (int i = 0; i < 8; ++i) hash_ = (hash_ ^ std::uint32_t(value >> (8 * i) & 255)) * 16777619u;
    return *this;
  }
  std::uint32_t value() const { return hash_; }

 private:
  std::uint32_t hash_ = 2166136261u;
};

std::uint32_t fingerprint(const cublasLtMatmulDescOpaque_t& desc,
                          const cublasLtMatrixLayoutOpaque_t* const (&layouts)[4]) {
  Fingerprint f;
  f << desc.compute << desc.scale << desc.transpose_a << desc.transpose_b << desc.epilogue;
  for (const auto* m : layouts) f << m->type << m->rows << m->columns << m->leading;
  return f.value();
}

// Whether cuBLASLt would take these: sizes that fit, types it has products for.
cublasStatus_t check_problem(const cublasLtMatmulDescOpaque_t& desc,
                             const cublasLtMatrixLayoutOpaque_t* const (&layouts)[4]) {
  const auto &a = *layouts[0], &b = *layouts[1], &c = *layouts[2], &d = *layouts[3];
  const bool transpose_a = desc.transpose_a == CUBLAS_OP_T, transpose_b = desc.transpose_b == CUBLAS_OP_T;
  const std::int64_t m = transpose_a ? a.columns : a.rows, k = transpose_a ? a.rows : a.columns,
                     n = transpose_b ? b.rows : b.columns, k_of_b = transpose_b ? b.columns : b.rows;
  if (k != k_of_b || d.rows != m || d.columns != n || c.rows != m || c.columns != n || m == 0 || n == 0 ||
      k == 0)
    return CUBLAS_STATUS_INVALID_VALUE;
  for (const auto* layout : layouts)
    if (layout->leading < layout->rows) return CUBLAS_STATUS_INVALID_VALUE;
  const bool wide = desc.compute == CUBLAS_COMPUTE_64F;
  const bool plain = desc.epilogue == CUBLASLT_EPILOGUE_DEFAULT;
  if (a.type != b.type || c.type != d.type || wide != (a.type == CUDA_R_64F) ||
      wide != (d.type == CUDA_R_64F) || desc.scale != (wide ? CUDA_R_64F : CUDA_R_32F) || (wide && !plain))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  if (desc.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && a.type != CUDA_R_32F)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  if ((desc.epilogue & CUBLASLT_EPILOGUE_BIAS) && !desc.bias) return CUBLAS_STATUS_INVALID_VALUE;
  return CUBLAS_STATUS_SUCCESS;
}

template <class Value>
cublasStatus_t set(Value& member, const void* value, std::size_t bytes) {
  if (!value || bytes != sizeof(Value)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&member, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

template <class Opaque>
cublasStatus_t destroy(Opaque* opaque) {
  delete opaque;
  return CUBLAS_STATUS_SUCCESS;
}

Matrix matrix(const void* data, const cublasLtMatrixLayoutOpaque_t& layout) {
  return {static_cast<const char*>(data), layout.type, layout.rows, layout.columns, layout.leading, 0};
}

}  // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  return destroy(handle);
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  *desc = new cublasLtMatmulDescOpaque_t{.compute = compute, .scale = scale};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) { return destroy(desc); }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t which,
                                              const void* value, std::size_t bytes) {
  switch (which) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(desc->transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(desc->transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return set(desc->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return set(desc->bias, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          std::uint64_t rows, std::uint64_t columns, std::int64_t leading) {
  *layout = new cublasLtMatrixLayoutOpaque_t{type, std::int64_t(rows), std::int64_t(columns), leading};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) { return destroy(layout); }
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return destroy(preference);
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t which,
                                                    const void* value, std::size_t bytes) {
  switch (which) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return set(preference->workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return set(preference->reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return set(preference->alignment[which - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = 0;
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  const cublasLtMatrixLayoutOpaque_t* const layouts[4] = {a, b, c, d};
  if (const cublasStatus_t status = check_problem(*desc, layouts); status != CUBLAS_STATUS_SUCCESS)
    return status;
  constexpr std::uint32_t kInAnyOrder = CUBLASLT_REDUCTION_SCHEME_INPLACE;
  if (preference->reductions & kInAnyOrder) {
    device_fail(
        "cublasLtMatmulAlgoGetHeuristic: the mask of reduction schemes allows sums in the output itself");
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  Chosen chosen{.fingerprint = fingerprint(*desc, layouts),
                .alignment = {},
                .bias_alignment = alignment_of(desc->bias),
                .workspace = std::min(preference->workspace, kWorkspace)};
  for (int i = 0; i < 4; ++i) chosen.alignment[i] = preference->alignment[i];
  results[0] = {.algo = {},
                .workspaceSize = std::size_t(chosen.workspace),
                .state = CUBLAS_STATUS_SUCCESS,
                .wavesCount = 1,
                .reserved = {}};
  std::memcpy(&results[0].algo, &chosen, sizeof chosen);
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algo, void* workspace, std::size_t workspace_bytes,
                              cudaStream_t stream) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!alpha || !beta || !algo) return CUBLAS_STATUS_INVALID_VALUE;
  const cublasLtMatrixLayoutOpaque_t* const layouts[4] = {a_layout, b_layout, c_layout, d_layout};
  if (const cublasStatus_t status = check_problem(*desc, layouts); status != CUBLAS_STATUS_SUCCESS)
    return status;
  Chosen chosen;
  std::memcpy(&chosen, algo, sizeof chosen);
  if (chosen.fingerprint != fingerprint(*desc, layouts)) {
    device_fail("cublasLtMatmul: the algorithm was chosen for another problem");
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const void* const places[4] = {a, b, c, d};
  for (int i = 0; i < 4; ++i)
    if (alignment_of(places[i]) < chosen.alignment[i]) {
      device_fail("cublasLtMatmul: %c lies at no multiple of %u bytes, for which the algorithm was chosen",
                  "abcd"[i], chosen.alignment[i]);
      return CUBLAS_STATUS_INVALID_VALUE;
    }
  if (desc->bias && alignment_of(desc->bias) < std::min<std::uint32_t>(chosen.bias_alignment, 16)) {
    device_fail("cublasLtMatmul: the bias is less aligned than that for which the algorithm was chosen");
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (chosen.workspace > 0 &&
      (workspace_bytes < chosen.workspace || alignment_of(workspace) < 256 ||
       !inside_device(static_cast<const char*>(workspace), std::size_t(chosen.workspace)))) {
    device_fail("cublasLtMatmul: the algorithm needs a workspace of %llu bytes at a multiple of 256",
                static_cast<unsigned long long>(chosen.workspace));
    return CUBLAS_STATUS_INVALID_VALUE;
  }

  const Matrix left = matrix(a, *a_layout), right = matrix(b, *b_layout), before = matrix(c, *c_layout),
               result = matrix(d, *d_layout);
  const bool with_bias = desc->epilogue & CUBLASLT_EPILOGUE_BIAS,
             relu = desc->epilogue & CUBLASLT_EPILOGUE_RELU;
  const Matrix bias{static_cast<const char*>(desc->bias), result.type, result.rows, 1, result.rows, 0};
  const bool wide = desc->compute == CUBLAS_COMPUTE_64F;
  double scale[2];
  const void* scales[2] = {alpha, beta};
  for (int i = 0; i < 2; ++i)
    scale[i] = load<double>(static_cast<const char*>(scales[i]), wide ? CUDA_R_64F : CUDA_R_32F);
  if (scale[1] != 0 && (c != d || before.leading != result.leading)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto all_usable = [=](bool read) {
    const char* call = "cublasLtMatmul";
    return usable(call, "a", left, 1, read) && usable(call, "b", right, 1, read) &&
           usable(call, "d", result, 1, read && scale[1] != 0) &&
           (!with_bias || usable(call, "the bias", bias, 1, read));
  };
  if (!all_usable(false)) return CUBLAS_STATUS_INVALID_VALUE;
  note_callers();
  submit(stream, [=, compute = desc->compute, transpose_a = desc->transpose_a == CUBLAS_OP_T,
                  transpose_b = desc->transpose_b == CUBLAS_OP_T] {
    if (!all_usable(true)) {
      failed(cudaErrorLaunchFailure);
      return;
    }
    const std::int64_t depth = transpose_a ? left.rows : left.columns;
    if (wide) {
      multiply<double>(left, transpose_a, right, transpose_b, result, depth, scale[0], scale[1], 1, false,
                       [](double sum, std::int64_t) { return sum; });
      return;
    }
    multiply<float>(left, transpose_a, right, transpose_b, result, depth, float(scale[0]), float(scale[1]), 1,
                    compute == CUBLAS_COMPUTE_32F_FAST_TF32, [&](float sum, std::int64_t row) {
                      if (with_bias)
                        sum += load<float>(bias.data + std::size_t(row) * size_of(bias.type), bias.type);
                      return relu && !(sum > 0) ? 0.0f : sum;  // NaN too, as max(x, 0)
                    });
  });
  return CUBLAS_STATUS_SUCCESS;
}
