#include "atrous/core/later_check.h"

#include <cmath>
#include <string>

#include "atrous/autograd/softmax.h"
#include "atrous/autograd/upsample.h"
#include "atrous/core/error.h"
#include "atrous/core/stream.h"
#include "atrous/layers/sgd.h"
#include "tests/support/catch.h"

// What is wrong with values on a device is told when something is read back from it: at once on the CPU.

namespace atrous::tests {
namespace {

using Catch::Matchers::Contains;

constexpr Device kCuda{DeviceType::cuda, 0};

bool device_at_hand() {
  if (cuda_device_count() > 0) return true;
  WARN("no CUDA device: skipped");
  return false;
}

void refuse(const Tensor& flag) {
  if (flag.span<std::int64_t>()[0] != 0)
    fail<ValueError>("test", "the flag is ", flag.span<std::int64_t>()[0]);
}

Tensor flag_of(std::int64_t value) { return Tensor::from<std::int64_t>({1}, {value}); }

// Labels of 2 images of 3x4 pixels, one of which is no class.
Tensor bad_labels() {
  Tensor labels = Tensor::zeros({2, 3, 4}, Dtype::u8);
  labels.span<std::uint8_t>()[12 + 4 + 2] = 30;  // image 1, row 1, column 2
  return labels;
}

// The sentence of the error that reading back brings, or of no error.
template <class ReadBack>
void check_names_the_pixel(const ReadBack& read_back) {
  std::string text = "no error";
  try {
    read_back();
  } catch (const ValueError& error) {
    text = error.what();
  }
  CHECK_THAT(text, Contains("label 30") && Contains("(1, 1, 2)") && Contains("5 classes"));
}

}  // namespace

TEST_CASE("check_later: on the CPU it is now", "[core]") {
  CHECK_NOTHROW(check_later(flag_of(0), refuse));
  CHECK_THROWS_AS(check_later(flag_of(3), refuse), ValueError);
}

TEST_CASE("check_later: on CUDA it is at the next value that is read back", "[core][cuda]") {
  if (!device_at_hand()) return;
  const Tensor value = Tensor::full({1}, 5.0).to(kCuda);
  check_later(flag_of(0).to(kCuda), refuse);
  CHECK(value.item() == 5);
  check_later(flag_of(3).to(kCuda), refuse);
  CHECK_THROWS_WITH(value.item(), Contains("the flag is 3"));
  CHECK(value.item() == 5);  // told once
  check_later(flag_of(4).to(kCuda), refuse);
  CHECK_THROWS_WITH(synchronize(kCuda), Contains("the flag is 4"));
  CHECK_NOTHROW(synchronize(kCuda));
  const OwnedStream other(kCuda);
  {
    const StreamScope scope(other);
    check_later(flag_of(6).to(kCuda), refuse);
  }
  CHECK_THROWS_WITH(value.item(), Contains("the flag is 6"));  // read in another stream
}

TEST_CASE("losses: a bad label on CUDA is named before any weight moves", "[autograd][cuda]") {
  if (!device_at_hand()) return;
  const Tensor labels = bad_labels().to(kCuda);
  Variable logits(Tensor::full({2, 3, 4, 5}, 0.5).to(kCuda), true);

  const Variable plain = softmax_cross_entropy(logits, labels);
  check_names_the_pixel([&] { static_cast<void>(plain.item()); });

  layers::Sgd sgd({{"logits", logits, layers::ParameterKind::bias}}, {.lr = 0.1});
  softmax_cross_entropy(logits, labels).backward();
  check_names_the_pixel([&] { static_cast<void>(sgd.step()); });
  CHECK(identical(logits.value(), Tensor::full({2, 3, 4, 5}, 0.5)));

  const Variable coarse(Tensor::full({2, 2, 3, 5}, 0.5).to(kCuda));
  const Variable stretched = upsample_cross_entropy(coarse, labels);
  check_names_the_pixel([&] { static_cast<void>(stretched.item()); });
  const Tensor counts = upsample_confusion(coarse.value(), labels);
  check_names_the_pixel([&] { static_cast<void>(counts.to(kCpu)); });
}

TEST_CASE("optimizer: parameters on several devices, each gradient looked at where it is",
          "[layers][optimizer][cuda]") {
  if (!device_at_hand()) return;
  const auto parameter = [](const char* name, Device device) {
    layers::Parameter p{name, Variable(Tensor::full({3}, 1.0).to(device), true), layers::ParameterKind::bias};
    p.variable.set_grad(Tensor::full({3}, 0.5).to(device));
    return p;
  };
  layers::Parameter here = parameter("here", kCpu), there = parameter("there", kCuda);
  layers::Sgd sgd({here, there}, {.lr = 1, .momentum = 0});
  CHECK(sgd.step());
  CHECK(identical(here.variable.value(), Tensor::full({3}, 0.5)));
  CHECK(identical(there.variable.value(), Tensor::full({3}, 0.5)));
  there.variable.set_grad(Tensor::full({3}, INFINITY).to(kCuda));
  CHECK(sgd.step().non_finite == "there");
  here.variable.set_grad(Tensor::full({3}, NAN));
  CHECK(sgd.step().non_finite == "here");
  CHECK(identical(there.variable.value(), Tensor::full({3}, 0.5)));
}

}  // namespace atrous::tests
