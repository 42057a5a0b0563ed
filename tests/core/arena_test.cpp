#include "atrous/core/arena.h"

#include <optional>
#include <vector>

#include "atrous/core/dry_run.h"
#include "atrous/core/error.h"
#include "atrous/core/memory.h"
#include "atrous/core/tensor.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

// A chain whose links are twice the last and the one before, of `sizes` elements: every link must have kept
// its numbers when the next is made of it.
Tensor chain(const std::vector<std::int64_t>& sizes) {
  Tensor before = Tensor::full({sizes[0]}, 1), last = Tensor::full({sizes[0]}, 2);
  for (std::size_t i = 1; i < sizes.size(); ++i) {
    const double sum =
        in_dry_run() ? 0 : 2 * last.span<float>()[0] + before.span<float>()[before.numel() - 1];
    Tensor next = Tensor::full({sizes[i]}, sum);
    before = last;
    last = next;
  }
  return last;
}

// What chain() ends with: 5, 12, 29, 70, 169, ...
double expected(std::size_t links) {
  double before = 1, last = 2;
  for (std::size_t i = 1; i < links; ++i) {
    const double next = 2 * last + before;
    before = last;
    last = next;
  }
  return last;
}

bool all_equal(const Tensor& t, double value) {
  for (const float v : t.span<float>())
    if (double(v) != value) return false;
  return true;
}

const std::vector<std::int64_t> kSizes = {1000, 70000, 3, 500000, 64, 300000, 90000, 1 << 20, 5, 40000};

}  // namespace

TEST_CASE("arena: run after run in one block, no larger than what lives at once", "[core][arena]") {
  Arena arena;
  std::vector<Tensor> results;
  for (int i = 0; i < 3; ++i) {
    const MemoryStats before = memory_stats();
    results.push_back(arena.run([] { return chain(kSizes); }));
    const MemoryStats after = memory_stats();
    CHECK(after.requests == before.requests + 2);  // the block and the result
    CHECK(after.in_use - before.in_use < 4 * (kSizes.back() + 10000));
  }
  const MemoryStats before = memory_stats();
  for (int i = 0; i < 2; ++i) {
    const Tensor dropped = arena.run([] { return chain(kSizes); });
    if (i == 1) CHECK(memory_stats().system_calls <= before.system_calls + 1);  // for the first of them
  }
  for (const Tensor& t : results) CHECK(all_equal(t, expected(kSizes.size())));
  const std::int64_t three_links = 4 * (90000 + (1 << 20) + 300000);
  CHECK(arena.bytes() >= three_links);
  CHECK(arena.bytes() < three_links + (1 << 17));
}

TEST_CASE("arena: a run that goes another way keeps its numbers, and the next is planned anew",
          "[core][arena]") {
  Arena arena;
  std::vector<std::int64_t> other = kSizes;
  other[4] = 200000;
  for (const auto& sizes : {kSizes, kSizes, other, other, kSizes, std::vector<std::int64_t>{7, 8}, kSizes}) {
    const Tensor y = arena.run([&] { return chain(sizes); });
    CHECK(all_equal(y, expected(sizes.size())));
  }
}

TEST_CASE("arena: what outlives a run against the plan is not written over", "[core][arena]") {
  Arena arena;
  std::vector<Tensor> kept;
  bool keeps = false;
  const auto compute = [&] {
    Tensor inner = Tensor::full({100000}, 3);
    if (keeps && !Arena::planning()) kept.push_back(inner);
    Tensor after = Tensor::full({100000}, 4);
    inner = Tensor();
    return Tensor::full({100000}, 5);
  };
  for (const bool now : {false, false, true, false, true, true, false}) {
    keeps = now;
    CHECK(all_equal(arena.run(compute), 5));
    for (const Tensor& t : kept) CHECK(all_equal(t, 3));
  }
  CHECK(kept.size() == 3);
}

TEST_CASE("arena: tensors may outlive it, and a pause allocates beside it", "[core][arena]") {
  std::optional<Arena> arena(std::in_place);
  Tensor beside, result;
  for (int i = 0; i < 2; ++i)
    result = arena->run([&] {
      const Tensor scratch = Tensor::full({5000}, 1);
      if (!beside.defined() && !Arena::planning()) {
        const Arena::Pause pause;
        beside = Tensor::full({5000}, 2);
      }
      return Tensor::full({5000}, 3);
    });
  arena.reset();
  CHECK(all_equal(beside, 2));
  CHECK(all_equal(result, 3));
}

TEST_CASE("arena: an error passes through, and the next run is whole", "[core][arena]") {
  Arena arena;
  for (const bool fails : {true, false, true, false, false}) {
    const auto compute = [&] {
      const Tensor a = Tensor::full({20000}, 1), b = Tensor::full({20000}, 2);
      if (fails) fail<ValueError>("test", "on purpose");
      return chain(kSizes);
    };
    if (fails)
      CHECK_THROWS_AS(arena.run(compute), ValueError);
    else
      CHECK(all_equal(arena.run(compute), expected(kSizes.size())));
  }
}

TEST_CASE("arena: in a rehearsal of somebody else, and while memory is checked", "[core][arena]") {
  Arena arena;
  {
    const DryRun rehearsal;
    arena.run([] { return chain(kSizes); });
    CHECK(rehearsal.stats().peak > 4 * (1 << 20));
  }
  CHECK(all_equal(arena.run([] { return chain(kSizes); }), expected(kSizes.size())));
  set_memory_checks(true);
  const MemoryStats before = memory_stats();
  CHECK(all_equal(arena.run([] { return chain(kSizes); }), expected(kSizes.size())));
  CHECK(memory_stats().requests >= before.requests + std::int64_t(kSizes.size()));
  set_memory_checks(false);
}

TEST_CASE("a tensor that was released says so", "[core][tensor]") {
  Tensor a = Tensor::full({1 << 20}, 1);
  Tensor shared = a;
  const std::int64_t in_use = memory_stats().in_use;
  const auto stamp = a.stamp();
  a.release();
  const std::int64_t freed = in_use - memory_stats().in_use;
  CHECK((freed >= 4 << 20 && freed < 5 << 20));  // under the address sanitizer blocks are a page larger
  CHECK((shared.released() && shared.shape() == Shape({1 << 20}) && shared.stamp() == stamp));
  CHECK_THROWS_AS(shared.span<float>(), ValueError);
  CHECK_THROWS_AS(std::as_const(shared).data(), ValueError);
  CHECK_THROWS_AS(a.clone(), ValueError);
}

}  // namespace atrous::tests
