#include "atrous/core/dtype.h"

#include <bit>
#include <cmath>
#include <limits>

#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

std::uint16_t rounded(float value) { return bf16(value).bits; }
float from_word(std::uint32_t word) { return std::bit_cast<float>(word); }

}  // namespace

TEST_CASE("bf16: rounds to nearest, ties to even", "[core][dtype]") {
  CHECK(rounded(1.0f) == 0x3f80);
  CHECK(rounded(-2.0f) == 0xc000);
  // 1 + 2^-8 lies halfway between 1 and 1 + 2^-7: the even one is 1.
  CHECK(rounded(from_word(0x3f808000)) == 0x3f80);
  CHECK(rounded(from_word(0x3f808001)) == 0x3f81);
  CHECK(rounded(from_word(0x3f807fff)) == 0x3f80);
  // 1 + 3 * 2^-8: halfway between 0x3f81 and the even 0x3f82.
  CHECK(rounded(from_word(0x3f818000)) == 0x3f82);
}

TEST_CASE("bf16: zeros, infinities, NaN and overflow", "[core][dtype]") {
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(rounded(0.0f) == 0);
  CHECK(rounded(-0.0f) == 0x8000);
  CHECK(rounded(infinity) == 0x7f80);
  CHECK(rounded(-infinity) == 0xff80);
  CHECK(float(bf16(std::numeric_limits<float>::max())) == infinity);
  CHECK(std::isnan(float(bf16(std::numeric_limits<float>::quiet_NaN()))));
  // A NaN whose set bits are all in the lower half must not become an infinity.
  CHECK(std::isnan(float(bf16(from_word(0x7f800001)))));
  CHECK(std::isnan(float(bf16(from_word(0xff80ffff)))));
  CHECK(float(bf16(from_word(0x00010000))) == from_word(0x00010000));  // a subnormal number
}

TEST_CASE("bf16: every one of its values survives a round trip", "[core][dtype]") {
  int changed = 0;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    bf16 value;
    value.bits = std::uint16_t(bits);
    const float wide = float(value);
    if (!std::isnan(wide) && bf16(wide).bits != bits) ++changed;
    if (std::isnan(wide) != std::isnan(float(bf16(wide)))) ++changed;
  }
  CHECK(changed == 0);
}

TEST_CASE("dtype: names, sizes and visits agree", "[core][dtype]") {
  const Dtype all[] = {Dtype::f32, Dtype::f64, Dtype::bf16, Dtype::u8, Dtype::i32, Dtype::i64};
  const char* names[] = {"f32", "f64", "bf16", "u8", "i32", "i64"};
  const std::int64_t sizes[] = {4, 8, 2, 1, 4, 8};
  for (int i = 0; i < 6; ++i) {
    CHECK(std::string(dtype_name(all[i])) == names[i]);
    CHECK(dtype_size(all[i]) == sizes[i]);
    CHECK(visit_dtype(all[i], []<class T>() { return dtype_of<T>(); }) == all[i]);
    CHECK(is_floating(all[i]) == (i < 3));
  }
  const auto size = []<class T>() { return sizeof(T); };
  CHECK(visit_float(Dtype::f64, size) == 8);
  CHECK(visit_float(Dtype::bf16, size) == 2);
  CHECK_THROWS_AS(visit_float(Dtype::i32, size), DtypeError);
  CHECK(visit_label(Dtype::u8, size) == 1);
  CHECK_THROWS_AS(visit_label(Dtype::f32, size), DtypeError);
  CHECK_THROWS_AS(visit_label(Dtype::i64, size), DtypeError);
}

}  // namespace atrous::tests
