#include "atrous/models/crf_file.h"

#include <cmath>
#include <limits>

#include "atrous/core/error.h"
#include "atrous/core/random.h"
#include "atrous/io/safetensors.h"
#include "tests/support/catch.h"
#include "tests/support/test_files.h"

namespace atrous::tests {
namespace {

using models::CrfLayer;
using models::CrfLearning;

// A layer none of whose settings and parameters is a default.
std::unique_ptr<CrfLayer> trained(CrfLearning learning) {
  auto layer =
      std::make_unique<CrfLayer>(models::CrfLayerSettings{.classes = 4,
                                                          .learning = learning,
                                                          .start = {.gaussian_weight = 0.7,
                                                                    .gaussian_sigma = 1.3,
                                                                    .bilateral_weight = 0.9,
                                                                    .bilateral_sigma_xy = 1.0 / 0.3,
                                                                    .bilateral_sigma_rgb = 45,
                                                                    .normalization = Normalization::after,
                                                                    .iterations = 3,
                                                                    .method = FilterMethod::exact}});
  Random random(5);
  for (layers::Parameter& p : layer->named_parameters())
    for (float& v : p.variable.mutable_value().span<float>()) v += float(random.uniform(-0.3, 0.3));
  return layer;
}

Tensor noise(const Shape& shape, double low, double high) {
  Tensor t = Tensor::empty(shape);
  Random random(2);
  for (float& v : t.span<float>()) v = float(random.uniform(low, high));
  return t;
}

std::string error_of(const std::string& path) {
  try {
    models::load_crf(path);
  } catch (const IoError& error) {
    return error.what();
  }
  return "nothing is wrong";
}

}  // namespace

TEST_CASE("crf file: a learned CRF comes back to the bit", "[models][crf_file]") {
  const TemporaryFolder folder;
  const Tensor unary = noise({1, 6, 7, 4}, 0, 3), image = noise({1, 6, 7, 3}, 0, 255);
  for (const CrfLearning learning :
       {CrfLearning::potts, CrfLearning::diagonal, CrfLearning::matrix, CrfLearning::factored}) {
    INFO(models::crf_learning_name(learning));
    const auto layer = trained(learning);
    models::save_crf(*layer, folder.file("a"));
    const auto again = models::load_crf(folder.file("a"));
    models::save_crf(*again, folder.file("b"));
    CHECK(file_bytes(folder.file("a")) == file_bytes(folder.file("b")));
    CHECK(again->settings().start.describe() == models::CrfParameters{.gaussian_sigma = 1.3,
                                                                      .bilateral_sigma_xy = 1.0 / 0.3,
                                                                      .bilateral_sigma_rgb = 45,
                                                                      .normalization = Normalization::after,
                                                                      .iterations = 3}
                                                    .describe());
    models::DenseCrf ours = layer->dense_crf(unary, image), theirs = again->dense_crf(unary, image);
    CHECK(identical(ours.inference({.iterations = 3}), theirs.inference({.iterations = 3})));
  }
}

TEST_CASE("crf file: what is wrong with one is said in one line", "[models][crf_file]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("crf");
  models::save_crf(*trained(CrfLearning::matrix), path);
  const io::SafeTensors good = io::read_safetensors(path);
  const auto error_with = [&](const auto& break_it) {
    io::SafeTensors file = good;
    break_it(file);
    io::write_safetensors(path, file.tensors, file.metadata);
    return error_of(path);
  };
  CHECK(error_with([](auto&) {}) == "nothing is wrong");
  const auto says = [&](const std::string& words, const auto& break_it) {
    const std::string error = error_with(break_it);
    INFO(error);
    CHECK(error.find(words) != std::string::npos);
    CHECK(error.find(path) != std::string::npos);
  };
  says("holds no CRF", [](auto& f) { f.metadata.clear(); });
  says("format \"2\"", [](auto& f) { f.metadata["atrous.crf.format"] = "2"; });
  says("lack atrous.crf.classes", [](auto& f) { f.metadata.erase("atrous.crf.classes"); });
  for (const char* number : {"0", "-1", "65537", "4 ", "", "nan", "99999999999999999999"})
    says("atrous.crf.classes cannot be", [&](auto& f) { f.metadata["atrous.crf.classes"] = number; });
  for (const char* number : {"0", "-1", "nan", "inf", "1e9", "13px"})
    says("atrous.crf.bilateral_sigma_rgb cannot be",
         [&](auto& f) { f.metadata["atrous.crf.bilateral_sigma_rgb"] = number; });
  says("atrous.crf.learning cannot be", [](auto& f) { f.metadata["atrous.crf.learning"] = "\x1b[2J"; });
  says("_labels\" [1, 1, 4, 4] is not in a CRF of learning potts",
       [](auto& f) { f.metadata["atrous.crf.learning"] = "potts"; });
  says("\"gaussian_weight\" is missing", [](auto& f) { f.tensors.erase("gaussian_weight"); });
  says("wanted tensor \"bilateral_labels\" [1, 1, 4, 4]", [](auto& f) {
    f.tensors["bilateral_labels"] = Tensor::full({1, 1, 4, 5}, 0);
  });
  says("wanted tensor \"bilateral_labels\"", [](auto& f) {
    f.tensors["bilateral_labels"] = Tensor::full({1, 1, 4, 4}, 0, Dtype::f64);
  });
  says("not finite", [](auto& f) {
    f.tensors["gaussian_labels"] = Tensor::full({1, 1, 4, 4}, std::numeric_limits<double>::quiet_NaN());
  });
  says("\"penalty\"", [](auto& f) { f.tensors["penalty"] = Tensor::full({1, 1, 4, 4}, 0); });
  says("wanted tensor \"gaussian_labels\" [1, 1, 65536, 65536]",
       [](auto& f) { f.metadata["atrous.crf.classes"] = "65536"; });
}

}  // namespace atrous::tests
