#pragma once

#include <cstdint>

#include "atrous/core/tensor.h"

namespace atrous::models {

/// Positions of one axis, end exclusive.
struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

/// Copies rows and columns of every image of `from` to `to` at (top, left). Both are [N, H, W, C], f32, on
/// the host, and the rectangle lies inside of both.
void copy_rectangle(const Tensor& from, Range rows, Range columns, Tensor& to, std::int64_t top,
                    std::int64_t left);

}  // namespace atrous::models
