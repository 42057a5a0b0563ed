#include <cmath>
#include <sstream>

#include "atrous/autograd/graph.h"
#include "atrous/models/import.h"
#include "tests/support/catch.h"
#include "tests/support/reference_file.h"

// torchvision's own models (tests/reference/torchvision_models.py): the names and shapes of their state
// dicts, with values that follow from the names, imported; then logits against torchvision's.

namespace atrous::models {
namespace {

std::uint32_t seed_of(const std::string& name) {
  std::uint32_t h = 0x811C9DC5u;
  for (const char c : name) h = (h ^ std::uint8_t(c)) * 0x01000193u;
  return h & 0xFFFFu;
}

// A state dict that is a list of names and shapes; its numbers are made when they are read.
class FormulaFile : public io::WeightFile {
 public:
  explicit FormulaFile(const std::string& listing)
      : WeightFile("formula.pth", "PyTorch", std::int64_t(1) << 32) {
    std::istringstream lines(listing);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string name;
      words >> name;
      std::vector<std::int64_t> shape;
      for (std::int64_t size; words >> size;) shape.push_back(size);
      const bool counter = name.ends_with("num_batches_tracked");
      add(name, counter ? io::ElementType::i64 : io::ElementType::f32, shape);
    }
  }

  Tensor read(std::size_t index) const override {
    const auto& [name, type, shape] = tensors().at(index);
    double scale = 0, offset = 0;
    if (name.ends_with("running_mean")) {
      scale = 0.1;
    } else if (name.ends_with("running_var")) {
      scale = 0.5;
      offset = 1;
    } else if (name.ends_with("bias")) {
      scale = 0.2;
    } else if (shape.rank() == 1) {
      scale = 0.3;
      offset = 1;
    } else {
      scale = std::sqrt(6 / double(shape[1] * shape[2] * shape[3]));
    }
    const auto values = tests::formula_input(shape, seed_of(name), scale, offset);
    Tensor t = Tensor::empty(shape);
    std::copy(values.begin(), values.end(), t.span<float>().begin());
    return t;
  }
};

}  // namespace

TEST_CASE("torchvision's models: every name is mapped, and the logits are torchvision's",
          "[models][import][reference]") {
  for (const tests::ReferenceCase& c : tests::read_reference("torchvision_models")) {
    INFO(c.name);
    const FormulaFile file(c.text("tensors"));
    const ImportedModel imported = import_model(file, {.model = c.name});
    for (const std::string& problem : imported.report.problems) FAIL_CHECK(problem);
    REQUIRE(imported.model);
    CHECK(imported.report.from == "torchvision");
    CHECK(imported.model->config().convention == "torchvision");
    // The reference is in double. In f32 what is left is rounding, of Winograd's products the more.
    for (const auto& [dtype, bound] : {std::pair{Dtype::f32, 1e-4}, std::pair{Dtype::f64, 1e-9}}) {
      INFO(dtype);
      imported.model->to(dtype);
      const tests::ReferenceInputs inputs(c, dtype);
      const NoGrad no_grad;
      const Tensor logits = imported.model->forward(inputs["x"]).value().to(Dtype::f64);
      REQUIRE(logits.shape() == c.output.shape);
      double worst = 0, largest = 0;
      for (std::int64_t i = 0; i < logits.numel(); ++i) {
        const double wanted = c.output.values[std::size_t(i)];
        worst = std::max(worst, std::abs(logits.span<double>()[i] - wanted));
        largest = std::max(largest, std::abs(wanted));
      }
      CHECK(worst < bound * largest);
    }
  }
}

}  // namespace atrous::models
