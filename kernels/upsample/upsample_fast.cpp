#include "atrous/kernels/upsample/upsample_fast.h"

#include <algorithm>
#include <mutex>

#include "atrous/core/parallel.h"
#include "atrous/kernels/resize/resize_body.h"
#include "atrous/kernels/resize/resize_simd.h"
#include "atrous/kernels/softmax/softmax_simd.h"
#include "atrous/kernels/upsample/upsample_simd.h"

// A thread takes chunks of coarse rows. Few classes go through planes, further down. Else the fine rows
// between coarse rows k and k + 1 are stretched a block of columns at a time, their losses and gradients
// taken, and the gradients gathered by columns into one coarse line, which is shared out to rows k and k + 1.
// The last row of a chunk belongs to the next one: it goes to the workspace, and is added at the end. So
// every sum has one order, whatever the threads.

namespace atrous::kernels::fast {
namespace {

constexpr std::int64_t kBuffer = 1 << 13;  // logits
constexpr std::int64_t kColumns = 256;     // fine columns of a block, at most
constexpr std::int64_t kChunks = 16;       // of an image, at most

std::int64_t rows_of_chunk(const ResizeDims& d) { return (d.in_h + kChunks - 1) / kChunks; }
std::int64_t chunks_of_image(const ResizeDims& d) {
  return (d.in_h + rows_of_chunk(d) - 1) / rows_of_chunk(d);
}
std::int64_t block_columns(const ResizeDims& d) { return std::min(kBuffer / d.channels, kColumns); }

// A block of fine columns: what they read, and which of them read each coarse column.
struct ColumnBlock {
  std::int64_t first = 0, count = 0, low = 0, coarse = 0;  // coarse columns low .. low + coarse - 1
  std::int32_t lows[kColumns], highs[kColumns];
  float weights[kColumns], reader_weights[2 * kColumns];
  simd::ResizeWindow windows[kColumns + 1];

  simd::ResizeColumns columns() const { return {count, lows, highs, weights}; }

  void fill(const ResizeAxis& axis, std::int64_t begin, std::int64_t columns) {
    first = begin, count = columns;
    for (std::int64_t j = 0; j < count; ++j) {
      const ResizeTap tap = axis.tap(first + j);
      lows[j] = std::int32_t(tap.low);
      highs[j] = std::int32_t(tap.high);
      weights[j] = float(tap.weight);
    }
    low = lows[0];
    coarse = highs[count - 1] - low + 1;
    float* next = reader_weights;
    for (std::int64_t k = low; k < low + coarse; ++k) {
      // Readers of k in this block lie side by side; those of weight 0 come first and do not count.
      std::int64_t from = std::max(axis.first(k - 1), first) - first;
      const std::int64_t to = std::min(axis.first(k + 1), first + count) - first;
      while (from < to && lows[from] == k - 1 && weights[from] == 0) ++from;
      windows[k - low] = {from, to - from, next};
      for (std::int64_t j = from; j < to; ++j) *next++ = lows[j] == k ? 1 - weights[j] : weights[j];
    }
  }
};

// call(image, fine row, its tap, upper coarse row, lower coarse row) for the fine rows between coarse rows
// `begin` and `end` of one image.
template <class Call>
void for_each_fine_row(const ResizeDims& d, const float* logits, std::int64_t image, std::int64_t begin,
                       std::int64_t end, const Call& call) {
  const ResizeAxis rows = rows_of(d);
  const std::int64_t line = d.in_w * d.channels;
  const float* x = logits + image * d.in_h * line;
  for (std::int64_t row = rows.first(begin); row < rows.first(end); ++row) {
    const ResizeTap tap = rows.tap(row);
    call(image * d.out_h + row, tap, x + tap.low * line, x + tap.high * line);
  }
}

// chunk(image, first coarse row, last, number) for every chunk; those of a thread in order.
template <class Chunk>
void for_each_chunk(const ResizeDims& d, const Chunk& chunk) {
  const std::int64_t of_image = chunks_of_image(d), rows = rows_of_chunk(d);
  const std::int64_t grain = grain_of(d.out_h * d.out_w * d.channels / of_image);
  parallel_for(d.batch * of_image, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t q = begin; q < end; ++q) {
      const std::int64_t from = q % of_image * rows;
      chunk(q / of_image, from, std::min(from + rows, d.in_h), q);
    }
  });
}

}  // namespace

bool takes(const ResizeDims& d) {
  return d.channels <= simd::kMostClasses && d.in_h <= d.out_h && d.in_w <= d.out_w;
}

std::int64_t upsample_chunks(const ResizeDims& d) { return d.batch * chunks_of_image(d); }

void upsample_losses(const ResizeDims& d, Span<const float> logits, Span<const std::int32_t> targets,
                     Span<float> losses) {
  const std::int64_t width = block_columns(d);
  for_each_chunk(d, [&](std::int64_t image, std::int64_t from, std::int64_t to, std::int64_t) {
    float fine[kBuffer];
    ColumnBlock block;
    for (std::int64_t first = 0; first < d.out_w; first += width) {
      block.fill(columns_of(d), first, std::min(width, d.out_w - first));
      for_each_fine_row(d, logits.data(), image, from, to,
                        [&](std::int64_t row, const ResizeTap& tap, const float* upper, const float* lower) {
                          const std::int64_t p = row * d.out_w + first;
                          simd::resize_row(upper, lower, float(tap.weight), block.columns(), d.channels,
                                           d.channels, false, fine);
                          simd::cross_entropy(block.count, d.channels, fine, targets.data() + p, nullptr,
                                              losses.data() + p, false, nullptr);
                        });
    }
  });
}

namespace {

// The fused loss and gradient over planes, for few classes. Columns go in blocks whose fine gradients stay
// near: those of the rows between two coarse rows are summed class by class, once for the coarse row above
// and once for the one below, and gathered by columns when the interval is through.

constexpr std::int64_t kPlaneColumns = 128;  // fine columns of a block, at most
constexpr std::int64_t kPlanes = simd::kMostPlaneClasses * (kPlaneColumns + 32);

bool by_planes(const ResizeDims& d) { return d.channels <= simd::kMostPlaneClasses; }

// Blocks of nearly equal width, in whole vectors.
std::int64_t plane_columns(const ResizeDims& d) {
  const std::int64_t blocks = (d.out_w + kPlaneColumns - 1) / kPlaneColumns;
  return ((d.out_w + blocks - 1) / blocks + 15) / 16 * 16;
}

class PlaneBlock {
 public:
  PlaneBlock(const ResizeDims& dims, const float* logits) : d_(dims), logits_(logits), rows_(rows_of(dims)) {}

  void move_to(std::int64_t first, std::int64_t count) {
    columns_.fill(columns_of(d_), first, count);
    for (std::int64_t j = 0; j < count; ++j) columns_.lows[j] -= low(), columns_.highs[j] -= low();
    for (std::int64_t j = count; j % 16 != 0; ++j) {
      columns_.lows[j] = columns_.lows[j - 1];
      columns_.highs[j] = columns_.highs[j - 1];
      columns_.weights[j] = columns_.weights[j - 1];
    }
    stride_ = (columns_.coarse + 15) / 16 * 16 + 16;
    fine_stride_ = (count + 15) / 16 * 16;
    upper_row_ = lower_row_ = -1;
  }

  // The losses of the fine rows between coarse rows `from` and `to` of an image. gradient_of(k) says where
  // the gradient of coarse row k goes, or null for none; that of the columns at hand is added.
  template <class GradientOf>
  double run(std::int64_t image, std::int64_t from, std::int64_t to, const std::int32_t* targets,
             const float* scales, const GradientOf& gradient_of) {
    double sum = 0;
    for (std::int64_t k = from; k < to; ++k) {
      const std::int64_t begin = rows_.first(k), end = rows_.first(k + 1);
      if (begin == end) continue;
      float* const dx = gradient_of(k);
      bool below = false;
      if (dx) clear(above_);
      for (std::int64_t row = begin; row < end; row += simd::kUpsampleRows) {
        const std::int64_t p = (image * d_.out_h + row) * d_.out_w + columns_.first;
        simd::UpsampleRows rows{.classes = d_.channels,
                                .stride = fine_stride_,
                                .rows = std::min<std::int64_t>(simd::kUpsampleRows, end - row),
                                .columns = columns_.count,
                                .out_w = d_.out_w,
                                .targets = targets + p,
                                .scales = scales + p};
        bool lower = false;
        for (std::int64_t r = 0; r < rows.rows; ++r) {
          rows.row_weights[r] = float(rows_.tap(row + r).weight);
          lower |= rows.row_weights[r] != 0;
        }
        stretch_rows(image * d_.in_h + k, lower);
        rows.upper = upper_;
        rows.lower = lower ? lower_ : upper_;
        if (dx && lower && !below) clear(below_), below = true;
        if (dx) rows.upper_gradient = above_;
        if (dx && lower) rows.lower_gradient = below_;
        sum += simd::upsample_rows(rows);
      }
      if (dx) gather(above_, dx);
      if (below) gather(below_, gradient_of(k + 1));
    }
    return sum;
  }

 private:
  std::int64_t low() const { return columns_.low; }
  void clear(float* fine) const { std::fill_n(fine, d_.channels * fine_stride_, 0.0f); }

  // The logits of coarse row `row`, counted through the batch, and of the one below if it counts.
  void stretch_rows(std::int64_t row, bool lower) {
    if (row == lower_row_) std::swap(upper_, lower_), std::swap(upper_row_, lower_row_);
    stretch(row, upper_, upper_row_);
    if (lower) stretch(row + 1, lower_, lower_row_);
  }
  void stretch(std::int64_t row, float* fine, std::int64_t& stretched) {
    if (stretched == row) return;
    simd::pixels_to_planes(logits_ + (row * d_.in_w + low()) * d_.channels, columns_.coarse, d_.channels,
                           stride_, planes_);
    simd::stretch_row(planes_, stride_, columns_.columns(), d_.channels, fine_stride_, fine);
    stretched = row;
  }
  void gather(const float* fine, float* coarse_row) {
    const float one = 1;
    simd::planes_to_pixels(fine, columns_.count, d_.channels, fine_stride_, pixels_);
    simd::resize_gather(pixels_, 0, &one, 1, d_.channels, columns_.windows, columns_.coarse, coarse_);
    simd::resize_share(coarse_, columns_.coarse * d_.channels, 0, coarse_row + low() * d_.channels, nullptr);
  }

  const ResizeDims& d_;
  const float* const logits_;
  const ResizeAxis rows_;
  ColumnBlock columns_;
  std::int64_t stride_ = 0, fine_stride_ = 0;
  std::int64_t upper_row_ = -1, lower_row_ = -1;  // what the stretched rows are
  float planes_[kPlanes] = {}, stretched_[2][kPlanes], above_[kPlanes], below_[kPlanes], pixels_[kPlanes],
        coarse_[kPlanes];
  float *upper_ = stretched_[0], *lower_ = stretched_[1];
};

}  // namespace

void upsample_cross_entropy(const ResizeDims& d, Span<const float> logits, Span<const std::int32_t> targets,
                            Span<const float> scales, Span<double> sums, Span<float> workspace,
                            Span<float> dlogits) {
  const bool planes = by_planes(d);
  const std::int64_t width = planes ? plane_columns(d) : block_columns(d), line = d.in_w * d.channels;
  const bool wants_gradient = !dlogits.empty();
  for_each_chunk(d, [&](std::int64_t image, std::int64_t from, std::int64_t to, std::int64_t number) {
    double sum = 0;
    float* const dx = wants_gradient ? dlogits.data() + image * d.in_h * line : nullptr;
    float* const next_chunk = wants_gradient ? workspace.data() + number * line : nullptr;
    if (wants_gradient) {
      std::fill(dx + from * line, dx + to * line, 0.0f);
      std::fill(next_chunk, next_chunk + line, 0.0f);
    }
    if (planes) {
      PlaneBlock block(d, logits.data());
      for (std::int64_t first = 0; first < d.out_w; first += width) {
        block.move_to(first, std::min(width, d.out_w - first));
        sum += block.run(image, from, to, targets.data(), scales.data(), [&](std::int64_t k) {
          return !wants_gradient ? nullptr : k < to ? dx + k * line : next_chunk;
        });
      }
      sums[number] = sum;
      return;
    }
    float fine[kBuffer], gradient[kBuffer], coarse[kBuffer + simd::kMostClasses];
    ColumnBlock block;
    for (std::int64_t first = 0; first < d.out_w; first += width) {
      block.fill(columns_of(d), first, std::min(width, d.out_w - first));
      for_each_fine_row(
          d, logits.data(), image, from, to,
          [&](std::int64_t row, const ResizeTap& tap, const float* upper, const float* lower) {
            const std::int64_t p = row * d.out_w + first;
            simd::resize_row(upper, lower, float(tap.weight), block.columns(), d.channels, d.channels, false,
                             fine);
            sum += simd::cross_entropy(block.count, d.channels, fine, targets.data() + p, scales.data() + p,
                                       nullptr, false, wants_gradient ? gradient : nullptr);
            if (!wants_gradient) return;
            const float one = 1;
            simd::resize_gather(gradient, 0, &one, 1, d.channels, block.windows, block.coarse, coarse);
            const std::int64_t at = block.low * d.channels;
            simd::resize_share(coarse, block.coarse * d.channels, float(tap.weight), dx + tap.low * line + at,
                               (tap.low + 1 < to ? dx + (tap.low + 1) * line : next_chunk) + at);
          });
    }
    sums[number] = sum;
  });
  if (!wants_gradient) return;
  const std::int64_t of_image = chunks_of_image(d), rows = rows_of_chunk(d);
  parallel_for(d.batch * (of_image - 1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t image = i / (of_image - 1), q = i % (of_image - 1);
      const float* part = workspace.data() + (image * of_image + q) * line;
      float* to = dlogits.data() + (image * d.in_h + (q + 1) * rows) * line;
      for (std::int64_t j = 0; j < line; ++j) to[j] += part[j];
    }
  });
}

void upsample_confusion(const ResizeDims& d, Span<const float> logits, Span<const std::int32_t> targets,
                        Span<std::int64_t> counts) {
  const std::int64_t width = block_columns(d);
  std::mutex lock;
  for_each_chunk(d, [&](std::int64_t image, std::int64_t from, std::int64_t to, std::int64_t) {
    float fine[kBuffer];
    std::int32_t labels[kColumns];
    ColumnBlock block;
    for (std::int64_t first = 0; first < d.out_w; first += width) {
      block.fill(columns_of(d), first, std::min(width, d.out_w - first));
      for_each_fine_row(d, logits.data(), image, from, to,
                        [&](std::int64_t row, const ResizeTap& tap, const float* upper, const float* lower) {
                          const std::int32_t* target = targets.data() + row * d.out_w + first;
                          simd::resize_row(upper, lower, float(tap.weight), block.columns(), d.channels,
                                           d.channels, false, fine);
                          simd::argmax(block.count, d.channels, fine, nullptr, labels);
                          const std::lock_guard hold(lock);
                          for (std::int64_t j = 0; j < block.count; ++j)
                            if (target[j] >= 0) ++counts[target[j] * d.channels + labels[j]];
                        });
    }
  });
}

}  // namespace atrous::kernels::fast
