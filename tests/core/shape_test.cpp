#include "atrous/core/shape.h"

#include <limits>
#include <sstream>

#include "atrous/core/error.h"
#include "tests/support/catch.h"

namespace atrous::tests {

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();

TEST_CASE("shape: counts its elements and prints its sizes", "[core][shape]") {
  const Shape shape{2, 65, 65, 256};
  CHECK(shape.rank() == 4);
  CHECK(shape.numel() == 2 * 65 * 65 * 256);
  CHECK(shape[3] == 256);
  std::ostringstream text;
  text << shape << Shape{} << Shape{7};
  CHECK(text.str() == "[2, 65, 65, 256][][7]");
}

TEST_CASE("shape: rank 0 holds one element, an axis of size 0 none", "[core][shape]") {
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{3, 0, 5}.numel() == 0);
  CHECK(Shape(std::vector<std::int64_t>{}) == Shape{});
}

TEST_CASE("shape: equality compares rank and sizes", "[core][shape]") {
  CHECK(Shape{2, 3} == Shape{2, 3});
  CHECK(Shape{2, 3} != Shape{3, 2});
  CHECK(Shape{2, 3} != Shape{2, 3, 1});
  CHECK(Shape{0, 3} != Shape{0, 4});
  CHECK(Shape{2, 3, 4}.with(1, 9) == Shape{2, 9, 4});
}

TEST_CASE("shape: element counts beyond 63 bits, negative sizes and a ninth axis are refused",
          "[core][shape]") {
  CHECK(Shape{kLargest}.numel() == kLargest);
  CHECK_THROWS_AS((Shape{std::int64_t(1) << 32, std::int64_t(1) << 31}), ShapeError);
  CHECK_THROWS_AS((Shape{kLargest, 2}), ShapeError);
  // A zero hides no overflow: slices of the shape would have one.
  CHECK_THROWS_AS((Shape{0, kLargest, 2}), ShapeError);
  CHECK_THROWS_AS((Shape{2, -1}), ShapeError);
  CHECK_THROWS_AS((Shape{std::numeric_limits<std::int64_t>::min()}), ShapeError);
  CHECK(Shape{1, 1, 1, 1, 1, 1, 1, 1}.rank() == Shape::kMaxRank);
  CHECK_THROWS_AS((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), ShapeError);
  CHECK_THROWS_AS((Shape{2, 3}.with(2, 1)), ShapeError);
  CHECK_THROWS_AS((Shape{2, 3}.with(-1, 1)), ShapeError);
  CHECK_THROWS_AS((Shape{2, 3}.with(0, -4)), ShapeError);
}

}  // namespace atrous::tests
