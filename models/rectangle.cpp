#include "atrous/models/rectangle.h"

#include <algorithm>

#include "atrous/core/parallel.h"

namespace atrous::models {

void copy_rectangle(const Tensor& from, Range rows, Range columns, Tensor& to, std::int64_t top,
                    std::int64_t left) {
  const std::int64_t channels = from.dim(3);
  const Span<const float> source = from.span<float>();
  const Span<float> target = to.span<float>();
  parallel_for(from.dim(0) * rows.size(), 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t n = i / rows.size(), row = i % rows.size();
      const std::int64_t source_row = n * from.dim(1) + rows.begin + row;
      const std::int64_t target_row = n * to.dim(1) + top + row;
      std::copy_n(source.data() + (source_row * from.dim(2) + columns.begin) * channels,
                  columns.size() * channels, target.data() + (target_row * to.dim(2) + left) * channels);
    }
  });
}

}  // namespace atrous::models
