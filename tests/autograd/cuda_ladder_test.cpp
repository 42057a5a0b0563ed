#include <algorithm>

#include "atrous/core/memory.h"
#include "atrous/core/stream.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

// The fourth rung of the ladder of trust: every row on the first CUDA device against the same row on the CPU,
// in every element type. Under the emulator there is such a device; elsewhere the rung is skipped, visibly.

namespace atrous::tests {
namespace {

constexpr Device kCuda{DeviceType::cuda, 0};

bool device_at_hand() {
  if (cuda_device_count() > 0) return true;
  WARN("no CUDA device: the rung is skipped");
  return false;
}

// What may lie between the devices, relative to the largest element: sums are added up in other orders, and
// bf16 rounds what comes out to 8 bits.
double tolerance(const OpCase& row, Dtype dtype) {
  if (dtype == Dtype::f64) return 1e-11;
  return dtype == Dtype::f32 ? row.tolerance : 1.0 / 64;
}

}  // namespace

TEST_CASE("cuda ladder: outputs and gradients agree with the CPU's", "[autograd][cuda]") {
  if (!device_at_hand()) return;
  for (const OpCase& row : OpCases::all())
    for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16}) {
      const auto cpu = run_case(row, dtype), cuda = run_case(row, dtype, kCuda);
      REQUIRE(cpu.size() == cuda.size());
      for (std::size_t i = 0; i < cpu.size(); ++i) {
        INFO(row.title() << ", " << dtype << (i ? ", gradient " : ", output ") << i);
        CHECK(cuda[i].device() == kCuda);
        CHECK(gap(Reference(cuda[i]), Reference(cpu[i])) <= tolerance(row, dtype));
      }
    }
}

TEST_CASE("cuda ladder: a second run gives the same bits, written where they belong", "[autograd][cuda]") {
  if (!device_at_hand()) return;
  for (const OpCase& row : OpCases::all())
    for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16}) {
      INFO(row.title() << ", " << dtype);
      const auto before = run_case(row, dtype, kCuda);
      const std::int64_t damaged = damaged_blocks(kCuda);
      set_memory_checks(true, kCuda);  // fresh tensors are full of NaN
      const auto after = run_case(row, dtype, kCuda);
      set_memory_checks(false, kCuda);
      for (std::size_t i = 0; i < before.size(); ++i) CHECK(identical(before[i], after[i]));
      CHECK(damaged_blocks(kCuda) == damaged);
    }
}

TEST_CASE("cuda ladder: works in the stream of a scope", "[autograd][cuda]") {
  if (!device_at_hand()) return;
  const OwnedStream own(kCuda);
  for (const OpCase& row : OpCases::all()) {
    INFO(row.title());
    const auto plain = run_case(row, Dtype::f32, kCuda);
    const StreamScope scope(own);
    const auto streamed = run_case(row, Dtype::f32, kCuda);
    for (std::size_t i = 0; i < plain.size(); ++i) CHECK(identical(plain[i], streamed[i]));
  }
}

TEST_CASE("cuda ladder: an empty batch launches nothing", "[autograd][cuda]") {
  if (!device_at_hand()) return;
  for (const OpCase& row : OpCases::all()) {
    if (!row.has_batch) continue;
    INFO(row.title());
    std::vector<Variable> inputs = draw_inputs(row, Dtype::f32, true, kCuda);
    // Other inputs that share the batch: the CPU's ladder has them.
    if (std::any_of(row.inputs.begin() + 1, row.inputs.end(), [&](const OpInput& input) {
          return input.shape.rank() == row.inputs[0].shape.rank() && input.role != "weight";
        }))
      continue;
    inputs[0] = Variable(Tensor::empty(row.inputs[0].shape.with(0, 0), Dtype::f32, kCuda), true);
    const Variable y = row.call(inputs);
    CHECK(y.value().numel() <= 1);
    if (y.requires_grad()) y.backward(Tensor::full(y.shape(), 1.0).to(kCuda));
  }
}

}  // namespace atrous::tests
