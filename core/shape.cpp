#include "atrous/core/shape.h"

#include <algorithm>

#include "atrous/core/error.h"

namespace atrous {

template <class Iterator>
void Shape::assign(Iterator first, Iterator last) {
  ATROUS_CHECK(ShapeError, last - first <= kMaxRank, "shape", last - first, " axes, at most ", kMaxRank,
               " are allowed");
  rank_ = int(last - first);
  std::copy(first, last, sizes_.begin());
  // Zero sizes are left out of the check: [0, 2^40, 2^40] holds nothing, but its other products must not
  // overflow either.
  numel_ = 1;
  bool empty = false;
  for (const std::int64_t size : *this) {
    ATROUS_CHECK(ShapeError, size >= 0, "shape", "negative size in ", *this);
    if (size == 0) {
      empty = true;
      continue;
    }
    ATROUS_CHECK(ShapeError, !__builtin_mul_overflow(numel_, size, &numel_), "shape", "element count of ",
                 *this, " does not fit into 63 bits");
  }
  if (empty) numel_ = 0;
}

Shape::Shape(std::initializer_list<std::int64_t> sizes) { assign(sizes.begin(), sizes.end()); }
Shape::Shape(const std::vector<std::int64_t>& sizes) { assign(sizes.begin(), sizes.end()); }

Shape Shape::with(int axis, std::int64_t size) const {
  ATROUS_CHECK(ShapeError, axis >= 0 && axis < rank_, "shape", "axis ", axis, " of ", *this);
  std::array<std::int64_t, kMaxRank> sizes = sizes_;
  sizes[std::size_t(axis)] = size;
  Shape shape;
  shape.assign(sizes.begin(), sizes.begin() + rank_);
  return shape;
}

bool Shape::operator==(const Shape& other) const {
  return std::equal(begin(), end(), other.begin(), other.end());
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (int axis = 0; axis < shape.rank(); ++axis) out << (axis ? ", " : "") << shape[axis];
  return out << ']';
}

}  // namespace atrous
