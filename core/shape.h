#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <vector>

namespace atrous {

/// The sizes of a tensor's axes, outermost first; at most 8. Prints as [2, 65, 65, 256]. Images are [N, H, W,
/// C]. No size is negative, and the product of the sizes fits into 63 bits: both are checked when a Shape is
/// made (ShapeError).
class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;  ///< rank 0: one element
  Shape(std::initializer_list<std::int64_t> sizes);
  explicit Shape(const std::vector<std::int64_t>& sizes);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return sizes_[std::size_t(axis)]; }
  /// Number of elements: the product of the sizes.
  std::int64_t numel() const { return numel_; }
  const std::int64_t* begin() const { return sizes_.data(); }
  const std::int64_t* end() const { return sizes_.data() + rank_; }
  /// The same shape with another size on one axis; throws ShapeError if there is no such axis.
  Shape with(int axis, std::int64_t size) const;
  bool operator==(const Shape& other) const;

 private:
  template <class Iterator>
  void assign(Iterator first, Iterator last);

  std::array<std::int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
  std::int64_t numel_ = 1;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

}  // namespace atrous
