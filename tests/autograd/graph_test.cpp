#include "atrous/autograd/graph.h"

#include <cmath>
#include <memory>
#include <thread>

#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/reduce.h"
#include "atrous/core/error.h"
#include "atrous/core/memory.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

Variable leaf(const std::vector<double>& values, bool requires_grad = true) {
  return Variable(Tensor::from({std::int64_t(values.size())}, values), requires_grad);
}

std::vector<double> values(const Tensor& t) {
  const Span<const double> s = t.span<double>();
  return {s.begin(), s.end()};
}

using Numbers = std::vector<double>;

// y = x, recorded, with a backward function of the test's own.
Variable record_identity(const Variable& x, Backward backward) {
  return record(Op::scale, x.value().clone(), {x}, std::move(backward));
}

}  // namespace

TEST_CASE("graph: gradients of several backward() calls add up until zero_grad()", "[autograd][graph]") {
  Variable x = leaf({1, -2, 3});
  CHECK(!x.grad().defined());
  sum(scale(x, 2)).backward();
  CHECK(values(x.grad()) == Numbers{2, 2, 2});
  sum(mul(x, x)).backward();
  CHECK(values(x.grad()) == Numbers{4, -2, 8});
  x.zero_grad();
  CHECK(!x.grad().defined());
  sum(x).backward();
  CHECK(values(x.grad()) == Numbers{1, 1, 1});
}

TEST_CASE("graph: a handle on an earlier gradient keeps its values when later ones are added",
          "[autograd][graph]") {
  Variable x = leaf({1, 2});
  sum(x).backward();
  const Tensor before = x.grad();
  sum(x).backward();
  CHECK(values(before) == Numbers{1, 1});
  CHECK(values(x.grad()) == Numbers{2, 2});
}

TEST_CASE("graph: a value that is used on several ways gathers all of them", "[autograd][graph]") {
  // A diamond of diamonds: each level doubles, so a walk along every path would not end.
  Variable x = leaf({1, 0.5});
  Variable y = x;
  for (int level = 0; level < 40; ++level) y = add(y, y);
  sum(y).backward();
  CHECK(values(x.grad()) == Numbers{std::ldexp(1, 40), std::ldexp(1, 40)});

  // Ways of unequal length: z = (2x + x*x) * x, dz = 4x + 3x^2.
  x.zero_grad();
  sum(mul(add(scale(x, 2), mul(x, x)), x)).backward();
  CHECK(values(x.grad()) == Numbers{7, 2.75});
}

TEST_CASE("graph: gradients of different leaves never share memory", "[autograd][graph]") {
  Variable a = leaf({1, 2}), b = leaf({3, 4});
  const Tensor seed = Tensor::full({2}, 1.0, Dtype::f64);
  add(a, b).backward(seed);
  CHECK(!a.grad().shares_storage(b.grad()));
  CHECK(!a.grad().shares_storage(seed));
  CHECK(!b.grad().shares_storage(seed));
  a.zero_grad();
  a.backward(seed);
  CHECK(!a.grad().shares_storage(seed));
}

TEST_CASE("graph: the record is released by backward(), and a second call is an error", "[autograd][graph]") {
  const Variable x = leaf({1, 2});
  const Variable y = mul(x, x), loss = sum(y);
  loss.backward();
  CHECK_THROWS_AS(loss.backward(), ValueError);
  CHECK_THROWS_AS(sum(scale(y, 2)).backward(), ValueError);
  CHECK(values(x.grad()) == Numbers{2, 4});
}

TEST_CASE("graph: retain_graph keeps the record for another call", "[autograd][graph]") {
  const Variable x = leaf({1, 2});
  const Variable loss = sum(mul(x, x));
  loss.backward({}, true);
  loss.backward({}, true);
  loss.backward();
  CHECK(values(x.grad()) == Numbers{6, 12});
  CHECK_THROWS_AS(loss.backward(), ValueError);
}

TEST_CASE("graph: only one element can do without a seed, and a seed weighs the elements",
          "[autograd][graph]") {
  const Variable x = leaf({1, 2, 3});
  const Variable y = scale(x, 2);
  CHECK_THROWS_AS(y.backward(), ShapeError);
  CHECK_THROWS_AS(y.backward(Tensor::zeros({2}, Dtype::f64)), ShapeError);
  CHECK_THROWS_AS(y.backward(Tensor::zeros({3}, Dtype::f32)), ShapeError);
  y.backward(Tensor::from({3}, Numbers{1, 10, 100}));
  CHECK(values(x.grad()) == Numbers{2, 20, 200});
}

TEST_CASE("graph: a leaf is its own gradient's seed", "[autograd][graph]") {
  const Variable x = leaf({5});
  x.backward();
  x.backward(Tensor::from({1}, Numbers{3}));
  CHECK(values(x.grad()) == Numbers{4});
}

TEST_CASE("graph: nothing is recorded under NoGrad, and the state comes back", "[autograd][graph]") {
  const Variable x = leaf({1, 2});
  CHECK(grad_enabled());
  {
    const NoGrad outer;
    {
      const NoGrad inner;
      CHECK(!grad_enabled());
    }
    CHECK(!grad_enabled());
    CHECK(!wants_grad({x}));
    CHECK(!mul(x, x).requires_grad());
    bool elsewhere = false;
    std::thread([&] { elsewhere = grad_enabled(); }).join();
    CHECK(elsewhere);
  }
  CHECK(grad_enabled());
  CHECK(wants_grad({Variable(), x}));
  CHECK(!wants_grad({Variable(), leaf({1}, false)}));
  CHECK_THROWS_AS(leaf({1}, false).backward(), ValueError);
}

TEST_CASE("graph: detach() cuts the record and shares the value", "[autograd][graph]") {
  const Variable x = leaf({2, 3});
  const Variable y = scale(x, 5), cut = y.detach();
  CHECK(!cut.requires_grad());
  CHECK(cut.value().shares_storage(y.value()));
  sum(mul(y, cut)).backward();
  CHECK(values(x.grad()) == Numbers{50, 75});
}

TEST_CASE("graph: intermediate gradients are kept for those who asked", "[autograd][graph]") {
  const Variable x = leaf({1, 2});
  Variable y = scale(x, 3), z = mul(y, y);
  y.keep_grad();
  sum(z).backward();
  CHECK(values(y.grad()) == Numbers{6, 12});
  CHECK(!z.grad().defined());
  CHECK(values(x.grad()) == Numbers{18, 36});
}

TEST_CASE("graph: set_requires_grad freezes and thaws a leaf", "[autograd][graph]") {
  Variable w = leaf({2, 2}), x = leaf({3, 4});
  w.set_requires_grad(false);
  Variable y = mul(x, w);
  sum(y).backward();
  CHECK(!w.grad().defined());
  CHECK(values(x.grad()) == Numbers{2, 2});
  CHECK_THROWS_AS(y.set_requires_grad(true), ValueError);

  // Thawed after the operation was recorded, which has not kept what the gradient needs: not asked for.
  const Variable before = mul(x, w);
  w.set_requires_grad(true);
  sum(before).backward();
  CHECK(!w.grad().defined());
  // Frozen between: not asked for either.
  const Variable after = mul(x, w);
  w.set_requires_grad(false);
  sum(after).backward();
  CHECK(!w.grad().defined());
}

TEST_CASE("graph: an exception in a backward function leaves all gradients as they were",
          "[autograd][graph]") {
  const Variable a = leaf({1}), b = leaf({2});
  a.backward();
  Variable middle = scale(b, 1);
  middle.keep_grad();
  const Variable bad = record_identity(
      scale(a, 1), [](const Tensor&, Gradients&) { throw std::runtime_error("out of luck"); });
  // The good branch is newer, so it has run when the bad one throws.
  const Variable loss = add(bad, scale(middle, 1));
  CHECK_THROWS_AS(loss.backward(), std::runtime_error);
  CHECK(values(a.grad()) == Numbers{1});
  CHECK(!b.grad().defined());
  CHECK(!middle.grad().defined());
  // Nothing half-gathered waits inside, either.
  add(scale(a, 1), scale(b, 1)).backward();
  CHECK(values(a.grad()) == Numbers{2});
  CHECK(values(b.grad()) == Numbers{1});
}

TEST_CASE("graph: a gradient of the wrong shape is refused", "[autograd][graph]") {
  const Variable x = leaf({1});
  const auto wrong = [](const Tensor&, Gradients& grads) { grads.set(0, Tensor::zeros({2}, Dtype::f64)); };
  CHECK_THROWS_AS(record_identity(x, wrong).backward(), ShapeError);
}

TEST_CASE("graph: a backward function that gives nothing counts as a zero gradient", "[autograd][graph]") {
  const Variable x = leaf({1});
  record_identity(x, [](const Tensor&, Gradients&) {}).backward();
  CHECK(!x.grad().defined());
}

TEST_CASE("graph: backward() frees what it has used as it goes", "[autograd][graph]") {
  const std::int64_t mib = 1 << 20;
  const std::int64_t before = memory_stats().in_use;
  const Variable x(Tensor::full({mib / 8}, 1.0, Dtype::f64), true);
  Variable y = x;
  const int depth = 40;
  for (int i = 0; i < depth; ++i) y = mul(y, y);  // keeps its factor: a MiB each
  const std::int64_t held = memory_stats().in_use - before;
  CHECK(held >= (depth + 1) * mib);
  reset_memory_peak();
  y.backward(Tensor::full({mib / 8}, 1.0, Dtype::f64));
  // Beyond what the forward pass held: the seed and a few gradients, not one for each operation.
  CHECK(memory_stats().peak - before - held <= 6 * mib);
  // x, its gradient, and y.
  CHECK(memory_stats().in_use - before <= 3 * mib + mib / 2);
}

TEST_CASE("graph: a record keeps no value alive that no gradient needs", "[autograd][graph]") {
  const std::int64_t before = memory_stats().in_use;
  const Variable x(Tensor::zeros({1 << 17}, Dtype::f64), true);
  Variable y = x;
  for (int i = 0; i < 20; ++i) y = scale(y, 1.5);
  CHECK(memory_stats().in_use - before <= 2.5 * (1 << 20));
}

TEST_CASE("graph: 50,000 operations in a row neither run backward nor are destroyed on the stack",
          "[autograd][graph]") {
  const int depth = 50000;
  const Variable x = leaf({1});
  const auto chain = [&] {
    Variable y = x;
    for (int i = 0; i < depth; ++i) y = scale(y, 1);
    return y;
  };
  chain().backward();
  CHECK(values(x.grad()) == Numbers{1});
  { const Variable never_run = chain(); }
  {
    const Variable y = chain();
    y.backward({}, true);
  }
  CHECK(values(x.grad()) == Numbers{2});
  // With a second way around each operation, so that most slots have two owners.
  {
    Variable y = x;
    for (int i = 0; i < depth; ++i) y = add(scale(y, 0.5), y);
  }
  // Built from a dropped middle: the tail still holds the whole chain.
  {
    Variable tail;
    {
      const Variable y = chain();
      tail = add(y, y);
    }
  }
  SUCCEED();
}

TEST_CASE("graph: threads record and run graphs of their own", "[autograd][graph]") {
  std::vector<std::thread> workers;
  std::vector<double> results(4);
  for (int t = 0; t < 4; ++t)
    workers.emplace_back([&results, t] {
      for (int round = 0; round < 50; ++round) {
        const Variable x = leaf({double(t), 1});
        sum(mul(x, x)).backward();
        results[std::size_t(t)] = values(x.grad())[0];
      }
    });
  for (auto& worker : workers) worker.join();
  CHECK(results == Numbers{0, 2, 4, 6});
}

TEST_CASE("variable: wrong uses are errors", "[autograd][graph]") {
  CHECK_THROWS_AS(Variable(Tensor()), ValueError);
  CHECK_THROWS_AS(Variable(Tensor::zeros({2}, Dtype::i32), true), DtypeError);
  CHECK_THROWS_AS(Variable(Tensor::zeros({2}, Dtype::u8), true), DtypeError);
  Variable none;
  CHECK(!none.defined());
  CHECK(!none.requires_grad());
  CHECK(!none.grad().defined());
  CHECK_THROWS_AS(none.value(), ValueError);
  CHECK_THROWS_AS(none.mutable_value(), ValueError);
  CHECK_THROWS_AS(none.keep_grad(), ValueError);
  CHECK_THROWS_AS(none.set_requires_grad(true), ValueError);
  CHECK_THROWS_AS(none.backward(), ValueError);
  CHECK_THROWS_AS(none.detach(), ValueError);
  Variable x = leaf({1, 2});
  CHECK_THROWS_AS(x.set_grad(Tensor::zeros({3}, Dtype::f64)), ShapeError);
  CHECK_THROWS_AS(x.set_grad(Tensor::zeros({2}, Dtype::f32)), ShapeError);
  x.set_grad(Tensor::full({2}, 4, Dtype::f64));
  CHECK(values(x.grad()) == Numbers{4, 4});
  // A leaf that does not hold numbers for gradients cannot start to ask for one.
  Variable labels(Tensor::zeros({2}, Dtype::u8));
  CHECK_THROWS_AS(labels.set_requires_grad(true), DtypeError);
}

}  // namespace atrous::tests
