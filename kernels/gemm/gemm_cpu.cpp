// Threads come from parallel_for; Eigen's blocking would change with its own.
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>
#include <algorithm>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/for_each.h"
#include "atrous/kernels/gemm/gemm.h"
#include "atrous/kernels/gemm/gemm_body.h"

namespace atrous::kernels {
namespace {

// In single precision a product is a 1x1 convolution, or one of its gradients, over an image of one column:
//   a * b    forward of x = a, weight = b               pixels = rows, depth -> columns channels
//   a * b'   backward by the input of dy = a, weight = b    pixels = rows, columns -> depth channels
//   a' * b   backward by the weight of x = a, dy = b        pixels = depth, rows -> columns channels
//   a' * b'  the second, after a was transposed into the workspace
Conv2dDims as_convolution(const GemmDims& d) {
  const auto image = [](std::int64_t pixels, std::int64_t in_channels, std::int64_t out_channels) {
    return with_output_size(
        {.batch = 1, .in_h = pixels, .in_w = 1, .in_channels = in_channels, .out_channels = out_channels});
  };
  if (d.transpose_b) return image(d.rows, d.columns, d.depth);
  if (d.transpose_a) return image(d.depth, d.rows, d.columns);
  return image(d.rows, d.depth, d.columns);
}

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class T>
auto map(const T* m, std::int64_t rows, std::int64_t columns) {
  return Eigen::Map<const Matrix<T>>(m, rows, columns);
}

}  // namespace

namespace {

// With room to align it.
template <class T>
std::int64_t cublas_workspace_size() {
  return (kCublasWorkspace + 256) / std::int64_t(sizeof(T));
}

}  // namespace

template <>
std::int64_t gemm_workspace_size<double>(const GemmDims&, Device device) {
  return device.is_cpu() ? 0 : cublas_workspace_size<double>();
}
template <>
std::int64_t gemm_workspace_size<bf16>(const GemmDims&, Device device) {
  return device.is_cpu() ? 0 : cublas_workspace_size<bf16>();
}
template <>
std::int64_t gemm_workspace_size<float>(const GemmDims& d, Device device) {
  if (!device.is_cpu()) return cublas_workspace_size<float>();
  if (d.rows == 0 || d.columns == 0 || d.depth == 0) return 0;
  const Conv2dDims conv = as_convolution(d);
  const std::int64_t copy = d.transpose_a && d.transpose_b ? d.rows * d.depth : 0;
  if (d.transpose_b) return copy + conv2d_backward_input_workspace_size<float>(conv);
  return d.transpose_a ? conv2d_backward_weight_workspace_size<float>(conv)
                       : conv2d_forward_workspace_size<float>(conv);
}

namespace cpu {

template <>
void gemm<double>(Stream, const GemmDims& d, Span<const double> a, Span<const double> b, Span<double>,
                  Span<double> c) {
  constexpr std::int64_t kTile = 128;  // rows and columns that one call of Eigen makes
  if (d.depth == 0) std::fill(c.begin(), c.end(), 0.0);
  if (c.empty() || d.depth == 0) return;
  const std::int64_t down = (d.rows + kTile - 1) / kTile, across = (d.columns + kTile - 1) / kTile;
  const auto left = d.transpose_a ? map(a.data(), d.depth, d.rows) : map(a.data(), d.rows, d.depth);
  const auto right = d.transpose_b ? map(b.data(), d.columns, d.depth) : map(b.data(), d.depth, d.columns);
  Eigen::Map<Matrix<double>> result(c.data(), d.rows, d.columns);
  const std::int64_t grain = grain_of(d.rows * d.columns / (down * across) * d.depth);
  parallel_for(down * across, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t tile = begin; tile < end; ++tile) {
      const std::int64_t i = tile / across * kTile, j = tile % across * kTile;
      const std::int64_t rows = std::min(kTile, d.rows - i), columns = std::min(kTile, d.columns - j);
      auto out = result.block(i, j, rows, columns);
      if (d.transpose_a && d.transpose_b)
        out.noalias() = left.middleCols(i, rows).transpose() * right.middleRows(j, columns).transpose();
      else if (d.transpose_a)
        out.noalias() = left.middleCols(i, rows).transpose() * right.middleCols(j, columns);
      else if (d.transpose_b)
        out.noalias() = left.middleRows(i, rows) * right.middleRows(j, columns).transpose();
      else
        out.noalias() = left.middleRows(i, rows) * right.middleCols(j, columns);
    }
  });
}

// Plain loops, sums in float: the reference of the CUDA kernel.
template <>
void gemm_with_epilogue<bf16>(Stream, const GemmDims& d, Span<const bf16> a, Span<const bf16> b,
                              const GemmEpilogue<bf16>& epilogue, Span<bf16>, Span<bf16> c) {
  parallel_for(d.rows, grain_of(d.columns * d.depth), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t j = 0; j < d.columns; ++j) {
        float sum = 0;
        for (std::int64_t k = 0; k < d.depth; ++k)
          sum += float(a[d.transpose_a ? k * d.rows + i : i * d.depth + k]) *
                 float(b[d.transpose_b ? j * d.depth + k : k * d.columns + j]);
        c[i * d.columns + j] = bf16(finish_sum(epilogue, sum, j));
      }
  });
}
template <>
void gemm<bf16>(Stream stream, const GemmDims& d, Span<const bf16> a, Span<const bf16> b,
                Span<bf16> workspace, Span<bf16> c) {
  gemm_with_epilogue<bf16>(stream, d, a, b, {}, workspace, c);
}

template <>
void gemm<float>(Stream stream, const GemmDims& d, Span<const float> a, Span<const float> b,
                 Span<float> workspace, Span<float> c) {
  if (d.depth == 0) std::fill(c.begin(), c.end(), 0.0f);
  if (c.empty() || d.depth == 0) return;
  const Conv2dDims conv = as_convolution(d);
  if (d.transpose_a && d.transpose_b) {
    const Span<float> copy = workspace.part(0, d.rows * d.depth);
    parallel_for(d.rows, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        for (std::int64_t k = 0; k < d.depth; ++k) copy[i * d.depth + k] = a[k * d.rows + i];
    });
    a = copy;
    workspace = workspace.part(copy.size(), workspace.size() - copy.size());
  }
  if (d.transpose_b)
    conv2d_backward_input<float>(stream, conv, a, b, workspace, c);
  else if (d.transpose_a)
    conv2d_backward_weight<float>(stream, conv, a, b, workspace, c);
  else
    conv2d_forward<float>(stream, conv, a, b, {}, workspace, c);
}

template <class T>
void gemm_with_epilogue(Stream stream, const GemmDims& d, Span<const T> a, Span<const T> b,
                        const GemmEpilogue<T>& epilogue, Span<T> workspace, Span<T> c) {
  gemm<T>(stream, d, a, b, workspace, c);
  if (!epilogue.empty()) for_each(c.size(), GemmEpiloguePass<T>{d.columns, epilogue, c});
}
template void gemm_with_epilogue<float>(Stream, const GemmDims&, Span<const float>, Span<const float>,
                                        const GemmEpilogue<float>&, Span<float>, Span<float>);
template void gemm_with_epilogue<double>(Stream, const GemmDims&, Span<const double>, Span<const double>,
                                         const GemmEpilogue<double>&, Span<double>, Span<double>);

}  // namespace cpu
}  // namespace atrous::kernels
