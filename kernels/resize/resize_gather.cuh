#pragma once

#include "atrous/kernels/resize/resize_rows.cuh"

// The gradient of the bilinear resize: every input pixel gathers the outputs that read it, rows first.

namespace atrous::kernels::cuda {

/// With what weight the output at fraction `p` (a numerator of the axis) reads input k: 1 at k, falling to 0
/// one pixel away.
__device__ __forceinline__ float reading_weight(int p, int k, int in, int q) {
  const int most = (in - 1) * q, at = (p < most ? p : most) - k * q;
  const int rest = at < 0 ? at + q : at;
  const float weight = float(rest) / float(q);
  return at < 0 ? weight : 1 - weight;
}

/// A tile of the gather: input columns of one row, some of the channels.
struct ResizeGatherTile {
  static constexpr int kSums = 8192;  // sums of rows in shared memory
  static constexpr int kRows = 128;   // outputs that read one input row, at most
  int columns, channels;
  unsigned tiles, chunks;
};

// A block owns tile.columns neighbouring pixels of one input row and tile.channels of their channels. First
// it sums, for every output column that reads them, the output rows that do (a thread owns a place: column,
// vector of V channels; neighbours in memory), then, for every pixel, those sums over the columns.
//
// Floor: the reading of dy, each row of it by the two input rows that it lies between.
template <class T, int V>
__global__ void __launch_bounds__(kResizeThreads, 4)
    resize_gather_kernel(ResizeWork g, ResizeGatherTile tile, const T* dy, T* dx) {
  using A = Accumulator<T>;
  ATROUS_SHARED(A, sums, [ResizeGatherTile::kSums]);
  ATROUS_SHARED(float, row_weights, [ResizeGatherTile::kRows]);
  unsigned block = blockIdx.x;
  const int first_channel = int(block % tile.chunks) * tile.channels;
  block /= tile.chunks;
  const int first_column = int(block % tile.tiles) * tile.columns;
  block /= tile.tiles;
  const int row = int(block % unsigned(g.in_h)), image = int(block / unsigned(g.in_h));
  const int channels =
      g.channels - first_channel < tile.channels ? g.channels - first_channel : tile.channels;
  const int columns = g.in_w - first_column < tile.columns ? g.in_w - first_column : tile.columns;

  const int top = g.rows.first(row - 1), rows = g.rows.first(row + 1) - top;
  for (int r = int(threadIdx.x); r < rows; r += kResizeThreads)
    row_weights[r] = reading_weight(g.rows.numerator(top + r), row, g.in_h, g.rows.denominator());
  __syncthreads();
  const int left = g.columns.first(first_column - 1), places = g.columns.first(first_column + columns) - left;
  const int vectors = channels / V;
  const std::int64_t line_size = std::int64_t(g.out_w) * g.channels;
  const T* from = dy + (std::int64_t(image) * g.out_h + top) * line_size + std::int64_t(left) * g.channels +
                  first_channel;
  for (int place = int(threadIdx.x); place < places * vectors; place += kResizeThreads) {
    const int o = place / vectors, c = place % vectors * V;
    const T* p = from + std::int64_t(o) * g.channels + c;
    A sum[V] = {}, v[V];
    for (int r = 0; r < rows; ++r, p += line_size) {
      const A weight = row_weights[r];
      if (weight == 0) continue;  // not read, so what lies there does not matter
      load_channels<T, V>(p, v);
      ATROUS_UNROLL
      for (int i = 0; i < V; ++i) sum[i] += weight * v[i];
    }
    ATROUS_UNROLL
    for (int i = 0; i < V; ++i) sums[o * channels + c + i] = sum[i];
  }
  __syncthreads();
  const int q = g.columns.denominator();
  for (int place = int(threadIdx.x); place < columns * vectors; place += kResizeThreads) {
    const int w = first_column + place / vectors, c = place % vectors * V;
    A sum[V] = {};
    for (int o = g.columns.first(w - 1); o < g.columns.first(w + 1); ++o) {
      const A weight = reading_weight(g.columns.numerator(o), w, g.in_w, q);
      if (weight == 0) continue;
      ATROUS_UNROLL
      for (int i = 0; i < V; ++i) sum[i] += weight * sums[(o - left) * channels + c + i];
    }
    store_channels<T, V>(
        dx + ((std::int64_t(image) * g.in_h + row) * g.in_w + w) * g.channels + first_channel + c, sum);
  }
}

/// The largest tile whose sums fit; none (columns = 0) where even one input pixel is read by too many.
inline ResizeGatherTile resize_gather_tile(const ResizeDims& d, int vector) {
  const auto most_readers = [](const ResizeAxis& axis, std::int64_t width) {
    // Outputs between input k - 1 and k + width, whatever k is: an interval holds at most `longest`.
    const std::int64_t out = axis.align_corners ? axis.out - 1 : axis.out,
                       in = axis.align_corners ? axis.in - 1 : axis.in;
    const std::int64_t longest = in <= 0 ? axis.out : ((width + 1) * out + in - 1) / in + 1;
    // Half-pixel centres: half an interval more beyond the outer centres.
    const std::int64_t edge = axis.align_corners || in <= 0 ? 0 : (out + in - 1) / in;
    return longest + edge < axis.out ? longest + edge : axis.out;
  };
  ResizeGatherTile tile{0, 0, 0, 0};
  if (most_readers(rows_of(d), 1) > ResizeGatherTile::kRows) return tile;
  const std::int64_t channels[] = {d.channels, 64, 4 * vector, vector};
  for (const std::int64_t some : channels) {
    if (some > d.channels || some % vector != 0) continue;
    // All channels side by side are best where a dozen columns or more fit.
    const std::int64_t enough = some == channels[3] ? 1 : d.in_w < 12 ? d.in_w : 12;
    std::int64_t width = 1;
    while (width < d.in_w && most_readers(columns_of(d), width + 1) * some <= ResizeGatherTile::kSums)
      ++width;
    if (most_readers(columns_of(d), width) * some > ResizeGatherTile::kSums || width < enough) continue;
    tile.columns = int(width), tile.channels = int(some);
    tile.tiles = unsigned((d.in_w + width - 1) / width),
    tile.chunks = unsigned((d.channels + some - 1) / some);
    return tile;
  }
  return tile;
}

}  // namespace atrous::kernels::cuda
