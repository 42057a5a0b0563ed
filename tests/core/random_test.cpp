#include "atrous/core/random.h"

#include <set>
#include <vector>

#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

using Words = PhiloxWords;

}  // namespace

TEST_CASE("philox: the known answers of its authors", "[core][random]") {
  // Random123's kat_vectors, philox4x32 with 10 rounds. The counter's words are counter (low, high), stream
  // (low, high); the key's are the seed.
  CHECK(philox(0, 0, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const std::uint64_t ones = ~std::uint64_t(0);
  CHECK(philox(ones, ones, ones) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  // Digits of pi: counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0.
  CHECK(philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("random: element i is the same number in any order", "[core][random]") {
  Random forward(5, 6);
  std::vector<std::uint32_t> numbers(101);
  for (auto& n : numbers) n = forward.bits();
  for (std::size_t i = numbers.size(); i-- > 0;) {
    CHECK(random_bits(5, 6, i) == numbers[i]);
    Random there(5, 6);
    there.seek(i);
    CHECK(there.bits() == numbers[i]);
  }
  CHECK(forward.position() == 101);
}

TEST_CASE("random: a copy repeats, another seed, stream or split does not", "[core][random]") {
  Random a(1), copy = a;
  std::set<std::uint32_t> first = {Random(1).bits(),          Random(2).bits(),
                                   Random(1, 1).bits(),       Random(1).split(0).bits(),
                                   Random(1).split(1).bits(), Random(1).split(0).split(0).bits()};
  CHECK(first.size() == 6);
  for (int i = 0; i < 10; ++i) CHECK(a.bits() == copy.bits());
}

TEST_CASE("random: uniform numbers fill 0 to 1 evenly", "[core][random]") {
  CHECK(uniform_from_bits(0) == 0.0f);
  CHECK(uniform_from_bits(0xffffffff) == 1.0f - 0x1p-24f);
  Random random(11);
  const int n = 100000;
  int bins[10] = {};
  for (int i = 0; i < n; ++i) ++bins[int(random.uniform() * 10)];
  for (const int count : bins) CHECK(std::abs(count - n / 10) < 5 * std::sqrt(n * 0.09));
  for (int i = 0; i < 1000; ++i) {
    const double x = random.uniform(-2, 3);
    CHECK((x >= -2 && x < 3));
  }
}

TEST_CASE("random: below(n) reaches every value and no other", "[core][random]") {
  Random random(12);
  int seen[7] = {};
  for (int i = 0; i < 7000; ++i) ++seen[random.below(7)];
  for (const int count : seen) CHECK(std::abs(count - 1000) < 5 * std::sqrt(7000 * 6.0 / 49));
  for (int i = 0; i < 100; ++i) CHECK(random.below(1) == 0);
  CHECK(random.below(std::int64_t(1) << 32) < (std::int64_t(1) << 32));
}

TEST_CASE("random: normal numbers have mean 0, deviation 1 and light tails", "[core][random]") {
  Random random(13);
  const int n = 200000;
  double sum = 0, squares = 0, fourth = 0;
  for (int i = 0; i < n; ++i) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  CHECK(std::abs(sum / n) < 5 / std::sqrt(double(n)));
  CHECK(std::abs(squares / n - 1) < 5 * std::sqrt(2.0 / n));
  CHECK(std::abs(fourth / n - 3) < 5 * std::sqrt(96.0 / n));
}

}  // namespace atrous::tests
