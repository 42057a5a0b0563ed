#include "atrous/kernels/permutohedral/permutohedral.h"

#include <array>
#include <cmath>
#include <set>

#include "atrous/autograd/lattice.h"
#include "atrous/core/parallel.h"
#include "atrous/kernels/gaussian_filter/gaussian_filter.h"
#include "atrous/kernels/permutohedral/lattice_point.h"
#include "tests/support/catch.h"
#include "tests/support/guarded.h"
#include "tests/support/lattice_reference.h"

namespace atrous::tests {
namespace {

using kernels::LatticeDims;
using kernels::LatticeKeys;

template <class T>
std::vector<T> scaled_values(std::int64_t n, std::uint64_t seed, double scale) {
  std::vector<T> v = random_values<T>(n, seed);
  for (T& x : v) x = T(float(double(x) * scale));
  return v;
}

template <class T>
LatticeKeys keys_of(const LatticeDims& d, const std::vector<T>& features) {
  std::vector<double> strips(std::size_t(kernels::lattice_bounds_workspace_size(d)), 0.0),
      bounds(std::size_t(2 * d.features), 0.0);
  kernels::lattice_bounds<T>({}, d, features, strips, bounds);
  return kernels::lattice_keys("test", d, bounds);
}

template <class T>
std::vector<T> filter(const LatticeDims& d, const std::vector<T>& features, const std::vector<T>& values,
                      bool transposed = false, bool tiles = true) {
  const Lattice<T> lattice("test", {}, d, features, tiles);
  const auto classes = std::int64_t(values.size()) / d.points;
  Guarded<T> out(std::int64_t(values.size()));
  lattice.filter(classes, {}, kernels::lattice_alpha(d.features), transposed, values, out.span());
  CHECK(out.intact());
  return out.values();
}

template <class A, class B>
double largest_gap(const std::vector<A>& a, const std::vector<B>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double gap = std::abs(double(a[i]) - double(b[i]));
    worst = gap <= worst ? worst : gap;
  }
  return worst;
}

// Pixels of an image in deviations: x, y and three colours that change smoothly with an edge.
std::vector<float> image_features(std::int64_t h, std::int64_t w, double sigma_xy, double sigma_rgb) {
  std::vector<float> f;
  for (std::int64_t y = 0; y < h; ++y)
    for (std::int64_t x = 0; x < w; ++x) {
      f.push_back(float(double(x) / sigma_xy));
      f.push_back(float(double(y) / sigma_xy));
      for (const double phase : {0.0, 1.0, 2.0})
        f.push_back(float((128 + 60 * std::sin(0.11 * double(x) + phase) * std::cos(0.07 * double(y)) +
                           (x + y > w ? 50 : 0)) /
                          sigma_rgb));
    }
  return f;
}

}  // namespace

TEST_CASE("permutohedral: corners enclose their point, for every number of features",
          "[kernels][permutohedral]") {
  for (const std::int64_t d : {1, 2, 3, 4, 5, 6, 7, 10, 17, 32}) {
    INFO(d << " features");
    const LatticeDims dims{50, d};
    const auto features = scaled_values<double>(dims.points * d, std::uint64_t(d), 20);
    const LatticeKeys keys = keys_of(dims, features);
    for (std::int64_t i = 0; i < dims.points; ++i) {
      kernels::LatticePoint<0> p;
      kernels::lattice_embed<0>(keys, features.data() + i * d, p);
      double sum = 0, least = 1;
      std::int64_t coordinates = 0;
      std::set<int> ranks;
      for (std::int64_t k = 0; k <= d; ++k) {
        sum += p.weight[k];
        least = std::min(least, p.weight[k]);
        ranks.insert(p.rank[k]);
        coordinates += p.base[k];
      }
      CHECK(std::abs(sum - 1) < 1e-12);
      CHECK(least >= -1e-12);
      CHECK((std::int64_t(ranks.size()) == d + 1 && *ranks.begin() == 0 && *ranks.rbegin() == d));
      CHECK(coordinates == 0);
      // The weighted corners are the embedded point.
      double e = 0;
      for (std::int64_t j = 0; j < d; ++j) e += features[std::size_t(i * d + j)] * keys.scale[j];
      double first = 0;
      for (std::int64_t r = 0; r <= d; ++r)
        first += p.weight[r] * double(p.base[0] * (d + 1) + r - (p.rank[0] > d - r ? d + 1 : 0));
      CHECK(std::abs(first - e) < 1e-9 * (1 + std::abs(e)));
    }
  }
}

TEST_CASE("permutohedral: agrees with a lattice in a map, both ways", "[kernels][permutohedral]") {
  const std::int64_t d = GENERATE(1, 2, 3, 4, 5, 7, 12);
  const LatticeDims dims{60, d};
  // Wide enough for keys of several words where there are many features.
  const auto features = scaled_values<double>(dims.points * d, 7, d > 6 ? 1e5 : 1.5);
  const auto values = random_values<double>(dims.points * 3, 8);
  INFO(d << " features, " << keys_of(dims, features).words << " words");
  for (const bool reversed : {false, true})
    CHECK(largest_gap(filter(dims, features, values, reversed),
                      map_filter(d, features, values, 3, reversed)) < (d > 6 ? 1e-9 : 1e-12));
  if (d == 12) CHECK(keys_of(dims, features).words > 2);
}

TEST_CASE("permutohedral: the transposed filter is the adjoint", "[kernels][permutohedral]") {
  const std::int64_t d = GENERATE(1, 2, 3, 5, 6, 8);
  const LatticeDims dims{300, d};
  const auto features = scaled_values<double>(dims.points * d, 1, 2);
  const auto v = random_values<double>(dims.points * 2, 2), u = random_values<double>(dims.points * 2, 3);
  const auto kv = filter(dims, features, v), ku = filter(dims, features, u, true);
  double left = 0, right = 0, size = 0;
  for (std::size_t i = 0; i < v.size(); ++i) {
    left += kv[i] * u[i];
    right += v[i] * ku[i];
    size += std::abs(kv[i] * u[i]);
  }
  CHECK(std::abs(left - right) < 1e-12 * size);
}

TEST_CASE("permutohedral: tiles give what the plain kernels give", "[kernels][permutohedral]") {
  const std::int64_t classes = GENERATE(1, 2, 7, 8, 9, 16, 21, 24, 33, 64, 70, 150);
  for (const auto& [h, w] : {std::array<std::int64_t, 2>{1, 1}, {3, 5}, {70, 130}}) {
    const LatticeDims dims{h * w, 5, w};
    INFO(h << 'x' << w << ", " << classes << " classes");
    const auto features = image_features(h, w, 8, 20);
    const auto values = random_values<float>(dims.points * classes, 4);
    const Lattice<float> tiles("test", {}, dims, features), plain("test", {}, dims, features, false);
    CHECK((tiles.tiled() && !plain.tiled()));
    CHECK(tiles.vertices() == plain.vertices());
    for (const bool transposed : {false, true})
      CHECK(largest_gap(filter(dims, features, values, transposed),
                        filter(dims, features, values, transposed, false)) < 2e-5);
  }
}

TEST_CASE("permutohedral: every number of features has tiles that agree with doubles",
          "[kernels][permutohedral]") {
  const std::int64_t d = GENERATE(1, 2, 3, 4, 5, 6, 7);
  const LatticeDims dims{5000, d};
  const auto features = scaled_values<float>(dims.points * d, 5, 1);
  const auto values = random_values<float>(dims.points * 3, 6);
  const std::vector<double> f(features.begin(), features.end()), v(values.begin(), values.end());
  const auto truth = filter(dims, f, v);
  double scale = 0;
  for (const double t : truth) scale = std::max(scale, std::abs(t));
  CHECK(largest_gap(filter(dims, features, values), truth) < 2e-6 * scale);
}

TEST_CASE("permutohedral: the bits do not depend on the number of threads", "[kernels][permutohedral]") {
  const LatticeDims dims{150 * 131, 5, 131};
  const auto features = image_features(150, 131, 5, 6);
  const auto values = random_values<float>(dims.points * 21, 9);
  const int before = threads();
  set_threads(1);
  const auto one = filter(dims, features, values);
  CHECK(one == filter(dims, features, values));
  for (const int n : {2, 3, 5}) {
    set_threads(n);
    CHECK(one == filter(dims, features, values));
  }
  set_threads(before);
}

TEST_CASE("permutohedral: on a dense plane it sums up to 0.882 of the Gaussian", "[kernels][permutohedral]") {
  const std::int64_t side = 60;
  std::vector<double> features;
  for (std::int64_t i = 0; i < side * side; ++i) {
    features.push_back(double(i % side) / 3);
    features.push_back(double(i / side) / 3);
  }
  const std::vector<double> ones(std::size_t(side * side), 1.0);
  const auto sums = filter({side * side, 2}, features, ones);
  Guarded<double> exact(side * side);
  kernels::gaussian_filter_forward<double>({}, {side * side, 2, 1}, features, {}, {}, ones, exact.span());
  double mean = 0;
  for (std::int64_t y = 15; y < 45; ++y)
    for (std::int64_t x = 15; x < 45; ++x)
      mean += sums[std::size_t(y * side + x)] / exact[y * side + x] / 900;
  CHECK(std::abs(mean - 0.882) < 0.01);
  CHECK(std::abs(mean * kernels::lattice_mass(2) / kernels::lattice_alpha(2) - 1) < 0.01);
}

TEST_CASE("permutohedral: the gradient by the features is that of the lattice", "[kernels][permutohedral]") {
  const std::int64_t d = GENERATE(1, 2, 3, 5, 6);
  const LatticeDims dims{40, d};
  auto features = scaled_values<double>(dims.points * d, 21, 1.2);
  const auto values = random_values<double>(dims.points * 2, 22),
             dout = random_values<double>(dims.points * 2, 23);
  Tensor pre = Tensor::from({dims.points}, scaled_values<double>(dims.points, 24, 1)),
         post = Tensor::from({dims.points}, scaled_values<double>(dims.points, 25, 1));
  const auto loss = [&] {
    const Lattice<double> lattice("test", {}, dims, features);
    std::vector<double> out(values.size(), 0.0);
    lattice.filter(2, {pre, post}, 0.9, false, values, out);
    double sum = 0;
    for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * dout[i];
    return sum;
  };
  Guarded<double> gradient(dims.points * d);
  Lattice<double>("test", {}, dims, features)
      .backward_features(2, {pre, post}, 0.9, features, values, dout, gradient.span());
  CHECK(gradient.intact());
  for (std::size_t i = 0; i < features.size(); i += 7) {
    const double at = features[i], h = 1e-6;
    features[i] = at + h;
    const double up = loss();
    features[i] = at - h;
    const double down = loss();
    features[i] = at;
    CHECK(std::abs((up - down) / (2 * h) - gradient[std::int64_t(i)]) < 1e-7);
  }
}

TEST_CASE("permutohedral: floats have the same gradient by the features, tiled or not",
          "[kernels][permutohedral]") {
  const std::int64_t h = 9, w = 11;
  const LatticeDims dims{h * w, 5, w};
  const auto features = image_features(h, w, 5, 30);
  const auto values = random_values<float>(dims.points * 3, 1),
             dout = random_values<float>(dims.points * 3, 2);
  Guarded<float> tiles(dims.points * 5), plain(dims.points * 5);
  Lattice<float>("test", {}, dims, features)
      .backward_features(3, {}, 1, features, values, dout, tiles.span());
  Lattice<float>("test", {}, dims, features, false)
      .backward_features(3, {}, 1, features, values, dout, plain.span());
  CHECK((tiles.intact() && plain.intact()));
  CHECK(largest_gap(tiles.values(), plain.values()) < 1e-4);
}

TEST_CASE("permutohedral: what the lattice cannot hold is refused in one sentence",
          "[kernels][permutohedral]") {
  const auto refused = [](const LatticeDims& d, std::vector<double> bounds) {
    try {
      kernels::lattice_keys("dense_crf", d, bounds);
    } catch (const ValueError& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(refused({10, 1}, {0, 1e9}).find("standard deviation is too small") != std::string::npos);
  CHECK(refused({10, 2}, {0, NAN, 1, 1}).find("feature 1 is not finite") != std::string::npos);
  CHECK(refused({30000LL * 30000, 5}, std::vector<double>(10, 0.0)).find("less than 2^31") !=
        std::string::npos);
  CHECK(refused({10, 33}, std::vector<double>(66, 0.0)).find("1 to 32 features") != std::string::npos);
  CHECK(refused({70000 * 4, 2}, {0, 0, 70000, 4}).empty());  // beyond the range of 16-bit keys
}

TEST_CASE("permutohedral: a strip longer than 16-bit coordinates reach", "[kernels][permutohedral]") {
  // 0.92 of the Gaussian sum 2.51 everywhere, within the ripple of the phase; a key that wrapped around would
  // add two places up.
  const LatticeDims dims{120000, 1};
  std::vector<float> features(120000), values(120000, 1.0f);
  for (std::size_t i = 0; i < features.size(); ++i) features[i] = float(i);
  const auto out = filter(dims, features, values);
  for (std::size_t i = 10; i + 10 < out.size(); i += 1000) CHECK(std::abs(out[i] - 2.3f) < 0.3f);
}

TEST_CASE("gaussian_filter: three points by hand", "[kernels][gaussian_filter]") {
  // Points 0, 1 and 3: weights e^-1/2, e^-9/2 and e^-2 between them.
  const std::vector<double> f = {0, 1, 3}, pre = {1, 2, 3}, post = {4, 5, 6}, v = {1, 10, 100};
  Guarded<double> out(3);
  kernels::gaussian_filter_forward<double>({}, {3, 1, 1}, f, pre, post, v, out.span());
  const double a = std::exp(-0.5), b = std::exp(-4.5), c = std::exp(-2.0);
  CHECK(largest_gap(out.values(), std::vector<double>{4 * (1 + 20 * a + 300 * b), 5 * (a + 20 + 300 * c),
                                                      6 * (b + 20 * c + 300)}) < 1e-12);
  CHECK(out.intact());
}

TEST_CASE("gaussian_filter: the gradient by the features", "[kernels][gaussian_filter]") {
  const kernels::GaussianDims d{12, 3, 2};
  auto f = random_values<double>(36, 1);
  const auto v = random_values<double>(24, 2), g = random_values<double>(24, 3),
             pre = random_values<double>(12, 4), post = random_values<double>(12, 5);
  const auto loss = [&] {
    std::vector<double> out(24, 0.0);
    kernels::gaussian_filter_forward<double>({}, d, f, pre, post, v, out);
    double sum = 0;
    for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * g[i];
    return sum;
  };
  Guarded<double> gradient(36);
  kernels::gaussian_filter_backward_features<double>({}, d, f, pre, post, v, g, gradient.span());
  for (std::size_t i = 0; i < f.size(); ++i) {
    const double at = f[i], h = 1e-5;
    f[i] = at + h;
    const double up = loss();
    f[i] = at - h;
    const double down = loss();
    f[i] = at;
    CHECK(std::abs((up - down) / (2 * h) - gradient[std::int64_t(i)]) < 1e-8);
  }
}

TEST_CASE("gaussian_filter: by the identity, filters alone make the gradient by the features",
          "[kernels][gaussian_filter]") {
  const std::int64_t points = 12, features = 3, classes = 2, wide = (features + 1) * classes;
  const kernels::GaussianDims d{points, features, classes};
  const auto f = random_values<double>(points * features, 1), v = random_values<double>(points * classes, 2),
             dout = random_values<double>(points * classes, 3), pre = random_values<double>(points, 4),
             post = random_values<double>(points, 5);
  Guarded<double> truth(points * features), got(points * features);
  kernels::gaussian_filter_backward_features<double>({}, d, f, pre, post, v, dout, truth.span());
  std::vector<double> of_v(std::size_t(points * wide), 0.0), of_g = of_v, kv = of_v, kg = of_v;
  kernels::identity_rows<double>({}, d, f, pre, v, of_v);
  kernels::identity_rows<double>({}, d, f, post, dout, of_g);
  kernels::gaussian_filter_forward<double>({}, {points, features, wide}, f, {}, {}, of_v, kv);
  kernels::gaussian_filter_forward<double>({}, {points, features, wide}, f, {}, {}, of_g, kg);
  kernels::identity_backward_features<double>({}, d, f, of_v, of_g, kv, kg, got.span());
  CHECK(got.intact());
  CHECK(largest_gap(got.values(), truth.values()) < 1e-12);
}

}  // namespace atrous::tests
