#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "tests/support/cuda_emulator/include/cublas_v2.h"
#include "tests/support/cuda_emulator/math.h"
#include "tests/support/cuda_emulator/state.h"

// Column-major matrices in device memory, and their product: what the twins of cuBLAS and cuBLASLt share.

namespace atrous::emu {

struct Matrix {
  const char* data;
  cudaDataType type;
  std::int64_t rows, columns, leading;  // as stored
  std::int64_t stride;                  // from one of the batch to the next
};

inline std::size_t size_of(cudaDataType type) { return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2; }

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

/// c = finish(alpha op(a) op(b) + beta c, row): sums in order of k, in the precision of Sum; tf32 rounds the
/// factors as tensor cores do.
template <class Sum, class Finish>
void multiply(const Matrix& a, bool transpose_a, const Matrix& b, bool transpose_b, const Matrix& c,
              std::int64_t depth, Sum alpha, Sum beta, std::int64_t batches, bool tf32,
              const Finish& finish) {
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
        store(p, c.type, finish(beta == Sum(0) ? sum : sum + beta * load<Sum>(p, c.type), i));
        mark_initialised(p, size);
      }
    }
  }
}

// Whether each matrix of the batch lies inside an allocation and, if `read`, has been written.
inline bool usable(const char* call, const char* name, const Matrix& m, std::int64_t batches, bool read) {
  if (m.leading < std::max<std::int64_t>(1, m.rows)) {
    device_fail("%s: leading dimension %lld of %s, which has %lld rows", call,
                static_cast<long long>(m.leading), name, static_cast<long long>(m.rows));
    return false;
  }
  for (std::int64_t batch = 0; batch < batches; ++batch)
    for (std::int64_t j = 0; j < m.columns; ++j) {
      const char* column = m.data + std::size_t(batch * m.stride + j * m.leading) * size_of(m.type);
      const std::size_t bytes = std::size_t(m.rows) * size_of(m.type);
      if (!is_device(column) || !inside_device(column, bytes)) {
        device_fail("%s: %s is not inside an allocation of the device", call, name);
        return false;
      }
      const Allocation* allocation = find_allocation(column);
      if (read && allocation->initialised &&
          std::memchr(&allocation->initialised[std::size_t(column - allocation->data)], 0, bytes)) {
        device_fail("%s: read of device memory nothing wrote, in %s", call, name);
        return false;
      }
    }
  return true;
}

}  // namespace atrous::emu
