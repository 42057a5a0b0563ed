#include <algorithm>

#include "atrous/kernels/for_each.h"
#include "atrous/kernels/reduce/channel_strips.h"
#include "atrous/kernels/reduce/reduce.h"

namespace atrous::kernels {
namespace {

constexpr std::int64_t kGroup = 8;        // rows that are added in Accumulator<T>
constexpr std::int64_t kMostBlocks = 64;  // partial sums a channel
constexpr std::int64_t kBlockElements = 1 << 14;

// Rows are cut into blocks by the shape alone: about as many elements a block as are worth a thread, at most
// 64 blocks, whole groups.
std::int64_t rows_per_block(const RowsDims& d) {
  const std::int64_t enough = kBlockElements / std::max<std::int64_t>(1, d.channels);
  const std::int64_t rows = std::max({(d.rows + kMostBlocks - 1) / kMostBlocks, enough, kGroup});
  return (rows + kGroup - 1) / kGroup * kGroup;
}

std::int64_t block_count(const RowsDims& d) { return (d.rows + rows_per_block(d) - 1) / rows_per_block(d); }

template <class T>
void add_group(const T* x, std::int64_t stride, std::int64_t channels, double* sums) {
  for (std::int64_t c = 0; c < channels; ++c) {
    const auto at = [p = x + c, stride](std::int64_t row) { return Accumulator<T>(p[row * stride]); };
    const auto low = (at(0) + at(1)) + (at(2) + at(3)), high = (at(4) + at(5)) + (at(6) + at(7));
    sums[c] += double(low + high);
  }
}

}  // namespace

std::int64_t channel_sums_workspace_size(const RowsDims& dims, Device device) {
  if (!device.is_cpu()) return strip_count(dims.rows, dims.channels) * dims.channels;
  return block_count(dims) * dims.channels;
}

namespace cpu {

template <class T>
void channel_sums(Stream, const RowsDims& dims, Span<const T> x, Span<double> scratch, Span<T> y) {
  const std::int64_t channels = dims.channels, blocks = block_count(dims), size = rows_per_block(dims);
  parallel_for(blocks, grain_of(size * channels), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t b = first; b < last; ++b) {
      double* sums = scratch.data() + b * channels;
      std::fill(sums, sums + channels, 0.0);
      std::int64_t row = b * size;
      const std::int64_t end = std::min(row + size, dims.rows);
      for (; row + kGroup <= end; row += kGroup)
        add_group(x.data() + row * channels, channels, channels, sums);
      for (; row < end; ++row)
        for (std::int64_t c = 0; c < channels; ++c)
          sums[c] += double(Accumulator<T>(x.data()[row * channels + c]));
    }
  });
  // Blocks in pairs, pairs of pairs: the sums of all channels move at once.
  for (std::int64_t n = blocks; n > 1; n = (n + 1) / 2) {
    for (std::int64_t i = 0; i < n / 2; ++i) {
      double* to = scratch.data() + i * channels;
      const double* a = scratch.data() + 2 * i * channels;
      const double* b = a + channels;
      for (std::int64_t c = 0; c < channels; ++c) to[c] = a[c] + b[c];
    }
    if (n % 2 && n > 1)
      std::copy_n(scratch.data() + (n - 1) * channels, channels, scratch.data() + n / 2 * channels);
  }
  for (std::int64_t c = 0; c < channels; ++c) y[c] = blocks ? T(scratch[c]) : T(0);
}
ATROUS_INSTANTIATE(channel_sums);

}  // namespace cpu
}  // namespace atrous::kernels
