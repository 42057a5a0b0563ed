#include "atrous/models/metrics.h"

#include <cmath>

#include "atrous/core/error.h"
#include "atrous/core/random.h"
#include "tests/support/catch.h"

namespace atrous::models {
namespace {

using Labels = std::vector<std::uint8_t>;

Tensor labels(const Labels& values) { return Tensor::from({1, 1, std::int64_t(values.size())}, values); }

struct Cell {
  std::int64_t truth, prediction, pixels;
};

ConfusionMatrix matrix(const std::vector<Cell>& cells) {
  ConfusionMatrix m(21);
  for (const Cell& c : cells) m.add(c.truth, c.prediction, c.pixels);
  return m;
}

}  // namespace

TEST_CASE("metrics: a small matrix by hand", "[models][metrics]") {
  ConfusionMatrix m(4);
  m.add(labels({0, 0, 0, 1, 1, 255}), labels({0, 0, 1, 1, 2, 3}));
  CHECK(m.total() == 5);
  CHECK(m.ignored() == 1);
  CHECK(m.count(0, 1) == 1);
  CHECK(m.pixel_accuracy() == Approx(3.0 / 5));
  const auto iou = m.class_iou();
  CHECK(iou[0] == Approx(2.0 / 3));
  CHECK(iou[1] == Approx(1.0 / 3));
  CHECK(iou[2] == 0);         // predicted, not there
  CHECK(std::isnan(iou[3]));  // neither
  CHECK(m.mean_iou() == Approx((2.0 / 3 + 1.0 / 3) / 3));
  CHECK(m.mean_accuracy() == Approx((2.0 / 3 + 1.0 / 2) / 2));
  CHECK(m.frequency_weighted_iou() == Approx(0.6 * 2 / 3 + 0.4 / 3));
}

TEST_CASE("metrics: known matrices of a trained network", "[models][metrics]") {
  const auto one = matrix({{0, 0, 222694}, {0, 1, 1261}, {1, 0, 264}, {1, 1, 26338}});
  CHECK(one.pixel_accuracy() == Approx(0.9939135605870122).epsilon(1e-14));
  CHECK(one.mean_accuracy() == Approx(0.9922226693540861).epsilon(1e-14));
  CHECK(one.mean_iou() == Approx(0.9692332659413478).epsilon(1e-14));
  CHECK(one.frequency_weighted_iou() == Approx(0.9881097423792173).epsilon(1e-14));

  auto both = matrix({{0, 0, 221432}, {0, 3, 2041}, {3, 0, 73}, {3, 3, 31408}});
  both.merge(one);
  CHECK(both.count(0, 0) == 444126);
  CHECK(both.class_iou()[0] == Approx(0.9918729690797629).epsilon(1e-14));
  CHECK(both.pixel_accuracy() == Approx(0.9928013435909406).epsilon(1e-14));
  CHECK(both.mean_accuracy() == Approx(0.9934590389354367).epsilon(1e-14));
  CHECK(both.mean_iou() == Approx(0.958025941348064).epsilon(1e-14));
  CHECK(both.frequency_weighted_iou() == Approx(0.9859992516018429).epsilon(1e-14));
}

TEST_CASE("metrics: random labels against plain counting, in shards", "[models][metrics]") {
  const auto drawn = [](std::uint64_t seed) {
    Tensor t = Tensor::empty({3, 7, 5}, Dtype::i32);
    Random random(seed);
    for (std::int32_t& v : t.span<std::int32_t>()) v = std::int32_t(random.below(5));
    return t;
  };
  ConfusionMatrix whole(5, std::nullopt), shards(5, std::nullopt);
  for (std::uint64_t i = 0; i < 4; ++i) {
    const Tensor truth = drawn(2 * i), prediction = drawn(2 * i + 1);
    whole.add(truth, prediction);
    ConfusionMatrix shard(5, std::nullopt);
    shard.add(truth, prediction);
    shards.merge(shard);
  }
  std::int64_t counts[5][5] = {};
  for (std::uint64_t i = 0; i < 4; ++i) {
    const Tensor truth = drawn(2 * i), prediction = drawn(2 * i + 1);
    for (std::int64_t k = 0; k < truth.numel(); ++k)
      ++counts[truth.span<std::int32_t>()[k]][prediction.span<std::int32_t>()[k]];
  }
  for (int t = 0; t < 5; ++t)
    for (int p = 0; p < 5; ++p) {
      CHECK(whole.count(t, p) == counts[t][p]);
      CHECK(shards.count(t, p) == counts[t][p]);
    }
}

TEST_CASE("metrics: counts have 64 bits", "[models][metrics]") {
  ConfusionMatrix m(2);
  for (int i = 0; i < 3; ++i) m.add(1, 1, std::int64_t(1) << 40);
  CHECK(m.total() == std::int64_t(3) << 40);
  CHECK(m.pixel_accuracy() == 1);
}

TEST_CASE("metrics: labels that are no class are refused, and nothing is counted", "[models][metrics]") {
  ConfusionMatrix m(3);
  CHECK_THROWS_AS(m.add(labels({0, 30}), labels({0, 0})), ValueError);
  CHECK_THROWS_AS(m.add(labels({0, 0}), labels({0, 3})), ValueError);
  CHECK_THROWS_AS(m.add(labels({0}), labels({0, 0})), ShapeError);
  CHECK_THROWS_AS(m.add(Tensor::zeros({1}), Tensor::zeros({1})), DtypeError);
  CHECK_THROWS_AS(ConfusionMatrix(3, std::nullopt).add(labels({255}), labels({0})), ValueError);
  CHECK(m.total() == 0);
  CHECK(std::isnan(m.mean_iou()));
  CHECK_THROWS_AS(ConfusionMatrix(0), ValueError);
  CHECK_THROWS_AS(m.merge(ConfusionMatrix(4)), ValueError);
}

TEST_CASE("metrics: 255 can be a class", "[models][metrics]") {
  ConfusionMatrix m(256, std::nullopt);
  m.add(labels({255, 254}), labels({255, 255}));
  CHECK(m.count(255, 255) == 1);
  CHECK(m.total() == 2);
}

}  // namespace atrous::models
