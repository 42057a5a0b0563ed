#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "tests/support/cuda_emulator/include/cublas_v2.h"
#include "tests/support/cuda_emulator/math.h"
#include "tests/support/cuda_emulator/state.h"

// The twin of cuBLAS: sums in order of k, in the compute type's precision; tf32 rounds the factors as tensor
// cores do. Arguments are checked as cuBLAS checks them, and further: matrices must lie inside allocations,
// factors must have been written.

struct cublasContext {
  cudaStream_t stream = nullptr;
};

namespace atrous::emu {
namespace {

struct Matrix {
  const char* data;
  cudaDataType type;
  std::int64_t rows, columns, leading;  // as stored
  std::int64_t stride;                  // from one of the batch to the next
};

std::size_t size_of(cudaDataType type) { return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2; }

template <class Sum>
Sum load(const char* p, cudaDataType type) {
  if (type == CUDA_R_64F) {
    double v;
    std::memcpy(&v, p, sizeof v);
    return Sum(v);
  }
  if (type == CUDA_R_32F) {
    float v;
    std::memcpy(&v, p, sizeof v);
    return Sum(v);
  }
  std::uint16_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return Sum(__uint_as_float(unsigned(bits) << 16));
}

template <class Sum>
void store(char* p, cudaDataType type, Sum sum) {
  if (type == CUDA_R_64F) {
    const auto v = double(sum);
    std::memcpy(p, &v, sizeof v);
  } else if (type == CUDA_R_32F) {
    const auto v = float(sum);
    std::memcpy(p, &v, sizeof v);
  } else {
    const unsigned word = __float_as_uint(float(sum));
    const bool nan = (word & 0x7fffffffu) > 0x7f800000u;
    const auto bits = std::uint16_t(nan ? (word >> 16) | 0x40u : (word + 0x7fffu + (word >> 16 & 1u)) >> 16);
    std::memcpy(p, &bits, sizeof bits);
  }
}

template <class Sum>
Sum rounded_to_tf32(Sum v) {
  return Sum(__uint_as_float((__float_as_uint(float(v)) + 0x1000u) & 0xffffe000u));
}

// Dense and column-major, transposed if asked for: element (i, j) at [i + j * rows of the result].
template <class Sum>
std::vector<Sum> gather(const Matrix& m, std::int64_t batch, bool transpose, bool tf32) {
  std::vector<Sum> v(std::size_t(m.rows * m.columns));
  const std::int64_t rows = transpose ? m.columns : m.rows, columns = transpose ? m.rows : m.columns;
  const std::size_t size = size_of(m.type);
  for (std::int64_t j = 0; j < columns; ++j)
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::int64_t at = batch * m.stride + (transpose ? j + i * m.leading : i + j * m.leading);
      const auto value = load<Sum>(m.data + std::size_t(at) * size, m.type);
      v[std::size_t(i + j * rows)] = tf32 ? rounded_to_tf32(value) : value;
    }
  return v;
}

template <class Sum>
void multiply(const Matrix& a, bool transpose_a, const Matrix& b, bool transpose_b, const Matrix& c,
              std::int64_t depth, Sum alpha, Sum beta, std::int64_t batches, bool tf32) {
  const DeviceMemoryOpen open;
  const std::size_t size = size_of(c.type);
  std::vector<Sum> sums(std::size_t(c.rows));
  for (std::int64_t batch = 0; batch < batches; ++batch) {
    const std::vector<Sum> left = gather<Sum>(a, batch, transpose_a, tf32),
                           right = gather<Sum>(b, batch, transpose_b, tf32);
    for (std::int64_t j = 0; j < c.columns; ++j) {
      std::fill(sums.begin(), sums.end(), Sum(0));
      for (std::int64_t k = 0; k < depth; ++k) {
        const Sum factor = right[std::size_t(k + j * depth)];
        const Sum* column = left.data() + k * c.rows;
        for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += column[i] * factor;
      }
      for (std::int64_t i = 0; i < c.rows; ++i) {
        char* p = const_cast<char*>(c.data) + std::size_t(batch * c.stride + i + j * c.leading) * size;
        const Sum sum = alpha * sums[std::size_t(i)];
        store(p, c.type, beta == Sum(0) ? sum : sum + beta * load<Sum>(p, c.type));
        mark_initialised(p, size);
      }
    }
  }
}

// Whether each matrix of the batch lies inside an allocation and, if `read`, has been written.
bool usable(const char* name, const Matrix& m, std::int64_t batches, bool read) {
  if (m.leading < std::max<std::int64_t>(1, m.rows)) {
    device_fail("cublasGemmEx: leading dimension %lld of %s, which has %lld rows",
                static_cast<long long>(m.leading), name, static_cast<long long>(m.rows));
    return false;
  }
  for (std::int64_t batch = 0; batch < batches; ++batch)
    for (std::int64_t j = 0; j < m.columns; ++j) {
      const char* column = m.data + std::size_t(batch * m.stride + j * m.leading) * size_of(m.type);
      const std::size_t bytes = std::size_t(m.rows) * size_of(m.type);
      if (!is_device(column) || !inside_device(column, bytes)) {
        device_fail("cublasGemmEx: %s is not inside an allocation of the device", name);
        return false;
      }
      const Allocation* allocation = find_allocation(column);
      if (read && allocation->initialised &&
          std::memchr(&allocation->initialised[std::size_t(column - allocation->data)], 0, bytes)) {
        device_fail("cublasGemmEx: read of device memory nothing wrote, in %s", name);
        return false;
      }
    }
  return true;
}

}  // namespace
}  // namespace atrous::emu

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
  if (!usable("a", left, batch, false) || !usable("b", right, batch, false) ||
      !usable("c", result, batch, false))
    return CUBLAS_STATUS_INVALID_VALUE;
  note_callers();
  submit(handle->stream, [=] {
    if (!usable("a", left, batch, true) || !usable("b", right, batch, true) ||
        !usable("c", result, batch, scale[1] != 0)) {
      failed(cudaErrorLaunchFailure);
      return;
    }
    if (wide)
      multiply<double>(left, transpose_a, right, transpose_b, result, k, scale[0], scale[1], batch, false);
    else
      multiply<float>(left, transpose_a, right, transpose_b, result, k, float(scale[0]), float(scale[1]),
                      batch, compute == CUBLAS_COMPUTE_32F_FAST_TF32 && type_a == CUDA_R_32F);
  });
  return CUBLAS_STATUS_SUCCESS;
}
