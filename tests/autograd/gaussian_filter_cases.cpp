#include <cmath>

#include "atrous/autograd/gaussian_filter.h"
#include "tests/support/lattice_reference.h"
#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

// K values of one image: the sum itself, or the lattice in a map.
std::vector<double> filtered(const GaussianFilterOptions& options, const std::vector<double>& features,
                             std::int64_t d, const std::vector<double>& values, std::int64_t classes) {
  if (options.method == FilterMethod::lattice) {
    std::vector<double> out = map_filter(d, features, values, classes, false);
    const double mass = std::pow(2 * std::acos(-1.0) * 2 / 3, double(d) / 2) * std::sqrt(double(d + 1)) /
                        std::exp2(double(d + 1));
    if (options.scale == FilterScale::mass)
      for (double& v : out) v *= mass * (1 + std::exp2(-double(d)));  // the map's is alpha
    return out;
  }
  const auto points = std::int64_t(features.size()) / d;
  std::vector<double> out(values.size(), 0.0);
  for (std::int64_t i = 0; i < points; ++i)
    for (std::int64_t j = 0; j < points; ++j) {
      double squares = 0;
      for (std::int64_t k = 0; k < d; ++k)
        squares += std::pow(features[std::size_t(i * d + k)] - features[std::size_t(j * d + k)], 2);
      for (std::int64_t c = 0; c < classes; ++c)
        out[std::size_t(i * classes + c)] += std::exp(-squares / 2) * values[std::size_t(j * classes + c)];
    }
  return out;
}

Reference filter_reference(const Reference& x, const Reference& features,
                           const GaussianFilterOptions& options) {
  Reference y(x.shape);
  const std::int64_t points = x.shape[1] * x.shape[2], classes = x.shape[3], d = features.shape[3];
  for (std::int64_t n = 0; n < x.shape[0]; ++n) {
    const auto part = [&](const Reference& r, std::int64_t width) {
      const auto at = r.values.begin() + n * points * width;
      return std::vector<double>(at, at + points * width);
    };
    const std::vector<double> f = part(features, d);
    std::vector<double> v = part(x, classes);
    const std::vector<double> norm =
        filtered(options, f, d, std::vector<double>(std::size_t(points), 1.0), 1);
    double mean = 0;
    for (const double m : norm) mean += m / double(points);
    std::vector<double> after(std::size_t(points), 1.0);
    for (std::int64_t i = 0; i < points; ++i) {
      const double own = norm[std::size_t(i)];
      double before = 1;
      if (options.normalization == Normalization::mean) after[std::size_t(i)] = 1 / mean;
      if (options.normalization == Normalization::before) before = 1 / own;
      if (options.normalization == Normalization::after) after[std::size_t(i)] = 1 / own;
      if (options.normalization == Normalization::symmetric)
        before = after[std::size_t(i)] = 1 / std::sqrt(own);
      for (std::int64_t c = 0; c < classes; ++c) v[std::size_t(i * classes + c)] *= before;
    }
    const std::vector<double> out = filtered(options, f, d, v, classes);
    for (std::size_t i = 0; i < out.size(); ++i)
      y.values[std::size_t(n * points * classes) + i] = out[i] * after[i / std::size_t(classes)];
  }
  return y;
}

OpCase filter_case(const char* name, const Shape& x, std::int64_t features,
                   const GaussianFilterOptions& options) {
  return {.op = Op::gaussian_filter,
          .name = name,
          .inputs = {{"x", x}, {"features", x.with(3, features)}},
          .call = [options](const auto& in) { return gaussian_filter(in[0], in[1], options); },
          .reference = [options](const auto& in) { return filter_reference(in[0], in[1], options); },
          .tolerance = 5e-5};
}

// The separable filter is the exact one of places, if no tap lies beyond 5 deviations.
OpCase spatial_case(const char* name, const Shape& x, std::vector<double> sigma,
                    Normalization normalization) {
  return {.op = Op::spatial_gaussian,
          .name = name,
          .inputs = {{"x", x}, {"sigma", {2}, Draw::fixed, true, std::move(sigma)}},
          .call = [=](const auto& in) { return spatial_gaussian(in[0], in[1], normalization); },
          .reference =
              [=](const auto& in) {
                Reference places(in[0].shape.with(3, 2));
                for (std::int64_t n = 0; n < places.shape[0]; ++n)
                  for (std::int64_t h = 0; h < places.shape[1]; ++h)
                    for (std::int64_t w = 0; w < places.shape[2]; ++w) {
                      places.at(n, h, w, 0) = double(w) / in[1].at(0);
                      places.at(n, h, w, 1) = double(h) / in[1].at(1);
                    }
                return filter_reference(in[0], places,
                                        {.method = FilterMethod::exact, .normalization = normalization});
              },
          .tolerance = 5e-5};
}

const OpCases cases({
    filter_case("exact", {2, 3, 4, 3}, 3, {.method = FilterMethod::exact}),
    filter_case("exact, symmetric", {1, 4, 5, 2}, 2,
                {.method = FilterMethod::exact, .normalization = Normalization::symmetric}),
    filter_case("exact, mean", {1, 3, 5, 2}, 2,
                {.method = FilterMethod::exact, .normalization = Normalization::mean}),
    filter_case("lattice of 2 features", {2, 3, 5, 3}, 2, {}),
    filter_case("lattice of 5 features, symmetric", {1, 4, 5, 2}, 5,
                {.normalization = Normalization::symmetric}),
    filter_case("lattice, before", {1, 1, 17, 2}, 1, {.normalization = Normalization::before}),
    filter_case("lattice, after", {1, 5, 4, 3}, 3, {.normalization = Normalization::after}),
    filter_case("lattice, mean", {1, 5, 4, 3}, 3, {.normalization = Normalization::mean}),
    filter_case("lattice of 8 features", {1, 2, 5, 2}, 8, {.scale = FilterScale::mass}),
    filter_case("exact, by the identity", {2, 3, 4, 2}, 3,
                {.method = FilterMethod::exact, .feature_gradient = FeatureGradient::identity}),
    filter_case("exact, symmetric, by the identity", {1, 4, 5, 2}, 2,
                {.method = FilterMethod::exact,
                 .normalization = Normalization::symmetric,
                 .feature_gradient = FeatureGradient::identity}),
    filter_case("exact, mean, by the identity", {1, 4, 5, 2}, 1,
                {.method = FilterMethod::exact,
                 .normalization = Normalization::mean,
                 .feature_gradient = FeatureGradient::identity}),
    spatial_case("separable", {2, 5, 7, 3}, {1.75, 2.5}, Normalization::none),
    spatial_case("separable, symmetric", {2, 5, 4, 3}, {1.25, 1.5}, Normalization::symmetric),
    spatial_case("separable, before", {1, 5, 4, 2}, {1.25, 1.5}, Normalization::before),
    spatial_case("separable, after", {1, 1, 4, 2}, {0.875, 0.5}, Normalization::after),
    spatial_case("separable, mean", {2, 4, 5, 2}, {1.25, 2.5}, Normalization::mean),
    {.op = Op::pixel_features,
     .name = "of an image",
     .inputs = {{"image", {2, 3, 4, 3}}, {"sigma", {5}, Draw::positive}},
     .call = [](const auto& in) { return pixel_features(in[0], in[1]); },
     .reference =
         [](const auto& in) {
           Reference y(in[0].shape.with(3, 5));
           for (std::int64_t n = 0; n < in[0].shape[0]; ++n)
             for (std::int64_t h = 0; h < 3; ++h)
               for (std::int64_t w = 0; w < 4; ++w) {
                 y.at(n, h, w, 0) = double(w) / in[1].at(0);
                 y.at(n, h, w, 1) = double(h) / in[1].at(1);
                 for (std::int64_t c = 0; c < 3; ++c)
                   y.at(n, h, w, 2 + c) = in[0].at(n, h, w, c) / in[1].at(2 + c);
               }
           return y;
         }},
    {.op = Op::pixel_features,
     .name = "of places alone",
     .inputs = {{"sigma", {2}, Draw::fixed, true, {0.75, 1.5}}},
     .call =
         [](const auto& in) {
           return pixel_features({}, in[0], {2, 3, 4, 1});
         },
     .reference =
         [](const auto& in) {
           Reference y({2, 3, 4, 2});
           for (std::int64_t n = 0; n < 2; ++n)
             for (std::int64_t h = 0; h < 3; ++h)
               for (std::int64_t w = 0; w < 4; ++w) {
                 y.at(n, h, w, 0) = double(w) / in[0].at(0);
                 y.at(n, h, w, 1) = double(h) / in[0].at(1);
               }
           return y;
         },
     .has_batch = false},
});

}  // namespace
}  // namespace atrous::tests
