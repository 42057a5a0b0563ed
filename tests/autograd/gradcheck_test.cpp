#include "atrous/autograd/gradcheck.h"

#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/graph.h"
#include "atrous/autograd/layout.h"
#include "atrous/autograd/reduce.h"
#include "atrous/core/random.h"
#include "tests/support/catch.h"

// The checker is itself checked: it must see each kind of wrong gradient.

namespace atrous::tests {
namespace {

Tensor random_tensor(const Shape& shape, std::uint64_t seed, Dtype dtype = Dtype::f64) {
  Random random(seed);
  Tensor t = Tensor::empty(shape, Dtype::f64);
  for (double& x : t.span<double>()) x = random.normal();
  return t.to(dtype);
}

Variable input(std::uint64_t seed, bool requires_grad = true) {
  return Variable(random_tensor({3, 5}, seed), requires_grad);
}

// a * b with a right forward and a backward of the test's own: writes da and db given dy, a and b.
using MulBackward = std::function<void(Span<const double> dy, Span<const double> a, Span<const double> b,
                                       Span<double> da, Span<double> db)>;
DifferentiableFunction mul_with(const MulBackward& backward) {
  return [backward](const std::vector<Variable>& in) {
    Variable y;
    {
      const NoGrad no_grad;
      y = mul(in[0], in[1]);
    }
    const Tensor a = in[0].value(), b = in[1].value();
    return record(Op::mul, y.value(), in, [backward, a, b](const Tensor& dy, Gradients& grads) {
      Tensor da = grads.empty(0), db = grads.empty(1);
      backward(dy.span<double>(), a.span<double>(), b.span<double>(), da.span<double>(), db.span<double>());
    });
  };
}

CheckResult check_mul(const MulBackward& backward) {
  return gradcheck(mul_with(backward), {input(1), input(2)});
}

}  // namespace

TEST_CASE("gradcheck: a right gradient passes, far below the tolerance", "[autograd][gradcheck]") {
  const CheckResult result = check_mul([](auto dy, auto a, auto b, auto da, auto db) {
    for (std::int64_t i = 0; i < dy.size(); ++i) {
      da[i] = dy[i] * b[i];
      db[i] = dy[i] * a[i];
    }
  });
  CHECK(result.passed);
  CHECK(result.worst < 1e-9);
  CHECK(result.message.empty());
}

TEST_CASE("gradcheck: a wrong sign, scale or place fails, and the message names the input",
          "[autograd][gradcheck]") {
  for (const int mistake : {0, 1, 2, 3}) {
    const CheckResult result = check_mul([mistake](auto dy, auto a, auto b, auto da, auto db) {
      const std::int64_t n = dy.size();
      for (std::int64_t i = 0; i < n; ++i) {
        da[i] = dy[i] * b[i];
        db[i] = dy[i] * a[i];
      }
      if (mistake == 0)
        for (double& v : db) v = -v;
      if (mistake == 1)
        for (double& v : db) v *= 1.0001;
      if (mistake == 2) std::swap(db[3], db[4]);
      if (mistake == 3) db[n - 1] = 0;
    });
    INFO("mistake " << mistake << ": " << result.message);
    CHECK(!result.passed);
    CHECK(!result);
    CHECK(result.message.find("input 1 [3, 5]") != std::string::npos);
    CHECK(result.worst > 1e-7);
  }
}

TEST_CASE("gradcheck: a NaN fails", "[autograd][gradcheck]") {
  CHECK(!check_mul([](auto dy, auto a, auto b, auto da, auto db) {
    for (std::int64_t i = 0; i < dy.size(); ++i) {
      da[i] = dy[i] * b[i];
      db[i] = dy[i] * a[i];
    }
    da[2] = NAN;
  }));
}

TEST_CASE("gradcheck: a forgotten input fails", "[autograd][gradcheck]") {
  const auto forgets = [](const std::vector<Variable>& in) {
    Variable y;
    {
      const NoGrad no_grad;
      y = add(in[0], in[1]);
    }
    return record(Op::add, y.value(), in, [](const Tensor& dy, Gradients& grads) { grads.set(0, dy); });
  };
  const CheckResult result = gradcheck(forgets, {input(1), input(2)});
  CHECK(!result.passed);
  CHECK(result.message.find("input 1") != std::string::npos);
}

TEST_CASE("gradcheck: a zero gradient fails even where the sum of the outputs is constant",
          "[autograd][gradcheck]") {
  // y = x - mean(x): like a softmax, its outputs always have the same sum.
  const auto centred = [](bool right) {
    return [right](const std::vector<Variable>& in) {
      const auto centre = [](const Tensor& x, Tensor& y) {
        const double m = mean(Variable(x)).item();
        for (std::int64_t i = 0; i < x.numel(); ++i) y.span<double>()[i] = x.span<double>()[i] - m;
      };
      Tensor y = Tensor::empty(in[0].shape(), Dtype::f64);
      centre(in[0].value(), y);
      return record(Op::scale, y, in, [=](const Tensor& dy, Gradients& grads) {
        Tensor dx = grads.empty(0);
        if (right)
          centre(dy, dx);
        else
          dx.fill(0);
      });
    };
  };
  CHECK(gradcheck(centred(true), {input(1)}).passed);
  CHECK(!gradcheck(centred(false), {input(1)}).passed);
}

TEST_CASE("gradcheck: a gradient that changes from run to run fails", "[autograd][gradcheck]") {
  int calls = 0;
  const auto f = mul_with([&calls](auto dy, auto a, auto b, auto da, auto db) {
    ++calls;
    for (std::int64_t i = 0; i < dy.size(); ++i) {
      da[i] = dy[i] * b[i] * (1 + 1e-15 * calls);
      db[i] = dy[i] * a[i];
    }
  });
  CHECK(!gradcheck(f, {input(1), input(2)}).passed);
}

TEST_CASE("gradcheck: large inputs are checked at evenly spread places", "[autograd][gradcheck]") {
  const Variable big(random_tensor({1000}, 3), true);
  const auto square = [](const std::vector<Variable>& in) { return mul(in[0], in[0]); };
  CHECK(gradcheck(square, {big}, {.max_entries = 10}).passed);
}

TEST_CASE("gradcheck: the caller's variables keep their values and gradients", "[autograd][gradcheck]") {
  const Variable x = input(1);
  const Tensor before = x.value().clone();
  gradcheck([](const auto& in) { return scale(in[0], 2); }, {x});
  CHECK(identical(before, x.value()));
  CHECK(!x.grad().defined());
}

TEST_CASE("gradcheck: single precision is refused", "[autograd][gradcheck]") {
  const Variable x(random_tensor({4}, 1, Dtype::f32), true);
  CHECK_THROWS_AS(gradcheck([](const auto& in) { return relu(in[0]); }, {x}), DtypeError);
}

TEST_CASE("adjoint_check: sees an adjoint that is shifted by one element", "[autograd][gradcheck]") {
  // y[i] = x[i + shift]: the adjoint moves the other way, by as much.
  const auto shifted = [](std::int64_t there, std::int64_t back) {
    return [there, back](const std::vector<Variable>& in) {
      const auto move = [](const Tensor& from, Tensor& to, std::int64_t by) {
        visit_float(from.dtype(), [&]<class T>() {
          const std::int64_t n = from.numel();
          for (std::int64_t i = 0; i < n; ++i)
            to.span<T>()[i] = i + by >= 0 && i + by < n ? from.span<T>()[i + by] : T(0);
        });
      };
      Tensor y = Tensor::empty(in[0].shape(), in[0].dtype());
      move(in[0].value(), y, there);
      return record(Op::scale, y, in, [=](const Tensor& dy, Gradients& grads) {
        Tensor dx = grads.empty(0);
        move(dy, dx, back);
      });
    };
  };
  for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
    const Variable x(random_tensor({50}, 4, dtype), true);
    CHECK(adjoint_check(shifted(2, -2), {x}, 0).passed);
    CHECK(!adjoint_check(shifted(2, -1), {x}, 0).passed);
    CHECK(!adjoint_check(shifted(2, 2), {x}, 0).passed);
  }
}

}  // namespace atrous::tests
