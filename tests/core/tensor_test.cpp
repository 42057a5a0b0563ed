#include "atrous/core/tensor.h"

#include <cmath>
#include <limits>
#include <utility>

#include "atrous/core/error.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

template <class T>
std::vector<T> values(const Tensor& t) {
  const Span<const T> s = t.span<T>();
  return {s.begin(), s.end()};
}

}  // namespace

TEST_CASE("tensor: its stamp changes when somebody may write to it, through any handle", "[core][tensor]") {
  Tensor t = Tensor::zeros({3}), handle = t;
  const Tensor other = Tensor::zeros({3});
  auto stamp = t.stamp();
  CHECK(handle.stamp() == stamp);
  CHECK(other.stamp() != stamp);
  CHECK(values<float>(t) == values<float>(other));
  CHECK(t.stamp() == stamp);
  const auto changed = [&] { return std::exchange(stamp, t.stamp()) != stamp; };
  handle.span<float>()[1] = 2;
  CHECK(changed());
  t.fill(3);
  CHECK(changed());
  handle.copy_from(other);
  CHECK(changed());
  t.clone().fill(1);
  CHECK_FALSE(changed());
  CHECK(Tensor().stamp() == Tensor().stamp());
}

TEST_CASE("tensor: copies share their elements, clones do not", "[core][tensor]") {
  Tensor a = Tensor::from({2, 2}, std::vector<float>{1, 2, 3, 4});
  Tensor b = a, c = a.clone();
  b.span<float>()[0] = 9;
  CHECK(values<float>(a) == std::vector<float>{9, 2, 3, 4});
  CHECK(values<float>(c) == std::vector<float>{1, 2, 3, 4});
  CHECK(a.shares_storage(b));
  CHECK(!a.shares_storage(c));
  CHECK(a.use_count() == 2);
  CHECK(!Tensor().shares_storage(Tensor()));
}

TEST_CASE("tensor: made full of zeros, of a value, from a vector", "[core][tensor]") {
  CHECK(values<std::int32_t>(Tensor::zeros({3}, Dtype::i32)) == std::vector<std::int32_t>{0, 0, 0});
  CHECK(values<double>(Tensor::full({2}, 0.1, Dtype::f64)) == std::vector<double>{0.1, 0.1});
  CHECK(float(Tensor::full({1}, 1.0, Dtype::bf16).span<bf16>()[0]) == 1.0f);
  CHECK(Tensor::from({2}, std::vector<std::uint8_t>{3, 255}).dtype() == Dtype::u8);
  CHECK_THROWS_AS(Tensor::from({3}, std::vector<float>{1, 2}), ShapeError);
  CHECK(reinterpret_cast<std::uintptr_t>(Tensor::empty({5}).data()) % 64 == 0);
}

TEST_CASE("tensor: reshape shares, and the number of elements must agree", "[core][tensor]") {
  const Tensor a = Tensor::from({2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6});
  const Tensor b = a.reshape({3, 1, 2});
  CHECK(b.shape() == Shape{3, 1, 2});
  CHECK(b.shares_storage(a));
  CHECK_THROWS_AS(a.reshape({5}), ShapeError);
  CHECK_THROWS_AS(Tensor().reshape({0}), ValueError);
}

TEST_CASE("tensor: item() wants exactly one element", "[core][tensor]") {
  CHECK(Tensor::full({}, 2.5).item() == 2.5);
  CHECK(Tensor::full({1, 1}, 7, Dtype::u8).item() == 7);
  CHECK_THROWS_AS(Tensor::zeros({2}).item(), ShapeError);
  CHECK_THROWS_AS(Tensor().item(), ShapeError);
}

TEST_CASE("tensor: axes count from both ends", "[core][tensor]") {
  const Tensor t = Tensor::zeros({2, 3, 4});
  CHECK(t.dim(0) == 2);
  CHECK(t.dim(-1) == 4);
  CHECK_THROWS_AS(t.dim(3), ShapeError);
  CHECK_THROWS_AS(t.dim(-4), ShapeError);
}

TEST_CASE("tensor: elements are read as what they are", "[core][tensor]") {
  Tensor t = Tensor::zeros({2});
  CHECK_THROWS_AS(t.span<double>(), DtypeError);
  CHECK_THROWS_AS(std::as_const(t).span<std::int32_t>(), DtypeError);
}

TEST_CASE("tensor: conversions keep values; what does not fit becomes the nearest that does",
          "[core][tensor]") {
  const double infinity = std::numeric_limits<double>::infinity();
  const Tensor doubles =
      Tensor::from({7}, std::vector<double>{1.9, -1.9, 300, -5, infinity, -infinity, std::nan("")});
  CHECK(values<std::uint8_t>(doubles.to(Dtype::u8)) == std::vector<std::uint8_t>{1, 0, 255, 0, 255, 0, 0});
  const std::int32_t low = std::numeric_limits<std::int32_t>::min(),
                     high = std::numeric_limits<std::int32_t>::max();
  CHECK(values<std::int32_t>(doubles.to(Dtype::i32)) ==
        std::vector<std::int32_t>{1, -1, 300, -5, high, low, 0});
  CHECK(values<std::int64_t>(doubles.to(Dtype::i64))[4] == std::numeric_limits<std::int64_t>::max());
  const Tensor floats = doubles.to(Dtype::f32);
  CHECK(floats.span<float>()[0] == 1.9f);
  CHECK(std::isnan(floats.span<float>()[6]));
  CHECK(values<double>(Tensor::full({1}, 1.9, Dtype::bf16).to(Dtype::f64)) == std::vector<double>{1.8984375});
  CHECK(floats.to(Dtype::f32).shares_storage(floats));
  CHECK(!Tensor().to(Dtype::f64).defined());
}

TEST_CASE("tensor: fill and copy_from overwrite", "[core][tensor]") {
  Tensor a = Tensor::zeros({3});
  a.fill(-2);
  CHECK(values<float>(a) == std::vector<float>{-2, -2, -2});
  a.copy_from(Tensor::from({3}, std::vector<float>{1, 2, 3}));
  CHECK(values<float>(a) == std::vector<float>{1, 2, 3});
  CHECK_THROWS_AS(a.copy_from(Tensor::zeros({4})), ShapeError);
  CHECK_THROWS_AS(a.copy_from(Tensor::zeros({3}, Dtype::f64)), DtypeError);
  CHECK_THROWS_AS(Tensor::zeros({}).copy_from(Tensor()), ValueError);
}

TEST_CASE("tensor: identical() compares bits", "[core][tensor]") {
  const double nan = std::nan("");
  CHECK(identical(Tensor::full({2}, nan), Tensor::full({2}, nan)));
  CHECK(!identical(Tensor::full({1}, 0.0), Tensor::full({1}, -0.0)));
  CHECK(!identical(Tensor::zeros({2, 1}), Tensor::zeros({1, 2})));
  CHECK(!identical(Tensor::zeros({2}, Dtype::i32), Tensor::zeros({2}, Dtype::f32)));
  CHECK(identical(Tensor(), Tensor()));
  CHECK(!identical(Tensor(), Tensor::zeros({})));
  CHECK(identical(Tensor::zeros({0, 3}), Tensor::zeros({0, 3})));
}

TEST_CASE("tensor: no elements need no memory, too many are refused", "[core][tensor]") {
  const Tensor none = Tensor::zeros({0, 5});
  CHECK(none.defined());
  CHECK(none.numel() == 0);
  CHECK(none.clone().shape() == Shape{0, 5});
  CHECK_THROWS_AS(Tensor::empty({std::int64_t(1) << 61}, Dtype::f64), ShapeError);
  CHECK_THROWS_AS(Tensor::empty({std::int64_t(1) << 59}, Dtype::f64), MemoryError);
}

TEST_CASE("tensor: there is no other device in this build", "[core][tensor]") {
  const Tensor t = Tensor::zeros({1});
  CHECK(t.to(kCpu).shares_storage(t));
  CHECK_THROWS_AS(t.to(Device{DeviceType::cuda, 0}), DeviceError);
  CHECK_THROWS_AS(Tensor::zeros({1}, Dtype::f32, Device{DeviceType::cuda, 0}), DeviceError);
}

}  // namespace atrous::tests
