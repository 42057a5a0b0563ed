#include "atrous/autograd/gaussian_filter.h"

#include <cmath>

#include "atrous/autograd/gradcheck.h"
#include "atrous/autograd/graph.h"
#include "atrous/core/error.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

Tensor normals(const Shape& shape, std::uint64_t seed, double deviation = 1) {
  Random random(seed);
  Tensor t = Tensor::empty(shape, Dtype::f64);
  for (double& v : t.span<double>()) v = deviation * random.normal();
  return t;
}

constexpr Normalization kAll[] = {Normalization::none, Normalization::mean, Normalization::before,
                                  Normalization::after, Normalization::symmetric};

double cosine(const Tensor& a, const Tensor& b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    ab += a.span<double>()[i] * b.span<double>()[i];
    aa += a.span<double>()[i] * a.span<double>()[i];
    bb += b.span<double>()[i] * b.span<double>()[i];
  }
  return ab / std::sqrt(aa * bb);
}

template <class E>
std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("gaussian_filter: backward is the adjoint of the filter, to 1e-12", "[autograd][gaussian_filter]") {
  const Variable x(normals({2, 6, 9, 3}, 1), true);
  for (const Normalization normalization : kAll) {
    for (const FilterMethod method : {FilterMethod::lattice, FilterMethod::exact})
      for (std::int64_t d = 1; d <= 6; ++d) {
        const Variable features(normals({2, 6, 9, d}, 2));
        const auto filter = [&](const std::vector<Variable>& in) {
          return gaussian_filter(in[0], features, {.method = method, .normalization = normalization});
        };
        const CheckResult result = adjoint_check(filter, {x}, 0);
        INFO(filter_method_name(method)
             << ' ' << normalization_name(normalization) << ", " << d << " features: " << result.message);
        CHECK(result.passed);
        CHECK(result.worst <= 1e-12);
      }
    const auto rows = [&](const std::vector<Variable>& in) {
      return spatial_gaussian(in[0], Variable(Tensor::from({2}, std::vector<double>{1.7, 0.8})),
                              normalization);
    };
    CHECK(adjoint_check(rows, {x}, 0).worst <= 1e-12);
  }
}

TEST_CASE("gaussian_filter: gradients by features that come from an image and its deviations",
          "[autograd][gaussian_filter]") {
  const ThreadsScope one(1);  // the field is too small to share
  // As a CRF's appearance term: dense places, colours of three channels.
  const Variable x(normals({1, 7, 8, 2}, 3), true), image(normals({1, 7, 8, 3}, 4, 40), true);
  const Variable sigma(Tensor::from({5}, std::vector<double>{2.1, 2.3, 35, 41, 52}), true);
  for (const Normalization normalization : kAll)
    for (const FilterMethod method : {FilterMethod::lattice, FilterMethod::exact}) {
      const auto filter = [&](const std::vector<Variable>& in) {
        return gaussian_filter(in[0], pixel_features(in[1], in[2]),
                               {.method = method, .normalization = normalization});
      };
      const CheckResult result = gradcheck(filter, {x, image, sigma}, {.max_entries = 60});
      INFO(filter_method_name(method) << ' ' << normalization_name(normalization) << ": " << result.message);
      CHECK(result.passed);
    }
}

TEST_CASE("gaussian_filter: the lattice's identity gradient points where the exact one does",
          "[autograd][gaussian_filter]") {
  for (const std::int64_t d : {2, 5}) {
    const Tensor x = normals({1, 20, 20, 2}, 5), features = normals({1, 20, 20, d}, 6, 0.8);
    const auto gradient = [&](FilterMethod method, FeatureGradient of) {
      const Variable f(features, true);
      const Variable y = gaussian_filter(
          Variable(x), f,
          {.method = method, .normalization = Normalization::symmetric, .feature_gradient = of});
      y.backward(normals(y.shape(), 7));
      return f.grad();
    };
    const Tensor exact = gradient(FilterMethod::exact, FeatureGradient::method);
    const double identity = cosine(gradient(FilterMethod::lattice, FeatureGradient::identity), exact),
                 lattice = cosine(gradient(FilterMethod::lattice, FeatureGradient::method), exact);
    INFO(d << " features: identity " << identity << ", lattice " << lattice);
    CHECK(identity > 0.9);
    CHECK(identity > lattice);
  }
}

TEST_CASE("gaussian_filter: one filter serves many calls, and one call is one gradient",
          "[autograd][gaussian_filter]") {
  const Variable x(normals({1, 4, 5, 2}, 8), true), features(normals({1, 4, 5, 3}, 9), true);
  const auto twice = [](const std::vector<Variable>& in) {
    const GaussianFilter filter(in[1], {.normalization = Normalization::symmetric});
    return filter(filter(in[0]));
  };
  CHECK(gradcheck(twice, {x, features}).passed);
  const NoGrad no_grad;
  CHECK_FALSE(gaussian_filter(x, features).requires_grad());
}

TEST_CASE("gaussian_filter: what makes no sense is refused in one sentence", "[autograd][gaussian_filter]") {
  const Variable x(normals({1, 4, 5, 2}, 1)), sigma(Tensor::from({2}, std::vector<double>{1, 1}));
  const auto features = [](const Shape& shape, double value = 0) {
    return Variable(Tensor::full(shape, value, Dtype::f64));
  };
  CHECK(refusal<ShapeError>([&] {
          gaussian_filter(x, features({1, 5, 4, 2}));
        }).find("do not belong to x [1, 4, 5, 2]") != std::string::npos);
  CHECK(refusal<ShapeError>([&] {
          gaussian_filter(x, features({1, 4, 5, 0}));
        }).find("no points") != std::string::npos);
  CHECK(refusal<DtypeError>([&] {
          gaussian_filter(x, Variable(Tensor::zeros({1, 4, 5, 2})));
        }).find("gaussian_filter") != std::string::npos);
  CHECK(refusal<ValueError>([&] {
          gaussian_filter(x, features({1, 4, 5, 2}, NAN));
        }).find("finite") != std::string::npos);
  CHECK(refusal<ValueError>([&] {
          gaussian_filter(x, features({1, 4, 5, 2}), {.method = FilterMethod::separable});
        }).find("lattice or exact") != std::string::npos);
  CHECK(refusal<ValueError>([&] {
          spatial_gaussian(x, Variable(Tensor::from({2}, std::vector<double>{1, 0})));
        }).find("not positive") != std::string::npos);
  CHECK(refusal<ShapeError>([&] { pixel_features(x, sigma); }).find("2 + 2 elements") != std::string::npos);
  CHECK(refusal<ShapeError>([&] { pixel_features({}, sigma); }).find("[N, H, W, C]") != std::string::npos);
}

}  // namespace atrous::tests
