#include "atrous/models/unary.h"

#include "tests/models/crf_picture.h"
#include "tests/support/catch.h"

namespace atrous::tests {

TEST_CASE("unary: logits, probabilities and labels", "[models][dense_crf]") {
  const Tensor p = Tensor::from({1, 1, 2, 2}, std::vector<double>{0.25, 0.75, 0, 1});
  const Tensor u = models::unary_from_probabilities(p);
  CHECK(std::abs(u.span<double>()[0] + std::log(0.25)) < 1e-12);
  CHECK((std::abs(u.span<double>()[2] + std::log(1e-5)) < 1e-12 && u.span<double>()[3] == 0));
  const Tensor soft = models::unary_from_probabilities(p, {.scale = 0.5});
  CHECK(std::abs(soft.span<double>()[2] + std::log(0.25)) < 1e-12);
  CHECK(refusal([&] { models::unary_from_probabilities(p, {.clip = 0}); }).find("pixel 1, class 0") !=
        std::string::npos);
  CHECK(refusal([&] {
          models::unary_from_probabilities(Tensor::full({1, 2}, NAN));
        }).find("not a probability") != std::string::npos);
  CHECK(refusal([&] {
          models::unary_from_logits(Tensor::full({1, 2}, INFINITY));
        }).find("not finite") != std::string::npos);
  const Tensor logits = models::unary_from_logits(Tensor::from({1, 2}, std::vector<double>{1000, 1001}));
  CHECK(std::abs(logits.span<double>()[0] - std::log(1 + std::exp(1.0))) < 1e-12);

  const Tensor labels = Tensor::from({1, 1, 3}, std::vector<std::int32_t>{2, 255, 0});
  const Tensor l = models::unary_from_labels(labels, 3, {.confidence = 0.6});
  const float right = float(-std::log(0.6)), wrong = float(-std::log(0.2)), unknown = float(std::log(3.0));
  const std::vector<float> wanted = {wrong, wrong, right, unknown, unknown, unknown, right, wrong, wrong};
  CHECK(std::equal(wanted.begin(), wanted.end(), l.span<float>().begin()));
  CHECK(refusal([&] { models::unary_from_labels(labels, 1); }).find("at least 2 classes") !=
        std::string::npos);
  CHECK(refusal([&] { models::unary_from_labels(labels, 2); }).find("label 2 at pixel (0, 0, 0)") !=
        std::string::npos);
  CHECK(refusal([&] { models::unary_from_labels(labels, 3, {.confidence = 1}); }).find("(0, 1)") !=
        std::string::npos);
}

}  // namespace atrous::tests
