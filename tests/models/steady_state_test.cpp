#include <atomic>
#include <cstdlib>
#include <new>

#include "atrous/autograd/graph.h"
#include "atrous/core/memory.h"
#include "atrous/models/registry.h"
#include "tests/support/catch.h"

// What a prepared model asks of anybody for its second image and the ones after it: from core/memory.h the
// block of its arena and its logits, both out of what the allocator holds already; from operator new handles
// of tensors and the kernels' lists of taps and patches, nothing of the size of an activation.

namespace {

std::atomic<bool> g_counts{false};
std::atomic<long> g_calls{0};
std::atomic<std::size_t> g_largest{0};

}  // namespace

#if defined(__SANITIZE_ADDRESS__)  // has its own, and demands that what is freed was allocated by them
constexpr bool kCounts = false;
#else
constexpr bool kCounts = true;

void* operator new(std::size_t bytes) {
  if (g_counts) {
    ++g_calls;
    std::size_t largest = g_largest;
    while (bytes > largest && !g_largest.compare_exchange_weak(largest, bytes)) {
    }
  }
  if (void* block = std::malloc(bytes ? bytes : 1)) return block;
  throw std::bad_alloc();
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
#endif

namespace atrous::models {

TEST_CASE("prepared models: the second and third image allocate no activation", "[models][prepare]") {
  const std::string name = GENERATE(as<std::string>(), "deeplab_v3plus_mobilenet_v2", "deeplab_v3_resnet50",
                                    "deeplab_v3plus_xception41", "deeplab_v3_mobilenet_v3_large:torchvision");
  CAPTURE(name);
  auto model = make(name, {.classes = 3, .width = 0.25, .head_width = 0.25});
  model->prepare_inference();
  const NoGrad no_grad;
  const Variable x(Tensor::full({1, 129, 161, 3}, 0.5));
  model->forward(x);
  for (int image = 2; image <= 3; ++image) {
    INFO("image " << image);
    const MemoryStats before = memory_stats();
    g_calls = 0, g_largest = 0;
    g_counts = true;
    { const Variable logits = model->forward(x); }
    g_counts = false;
    const MemoryStats after = memory_stats();
    CHECK(after.requests - before.requests == 2);  // the arena's block and the logits
    CHECK(after.system_calls == before.system_calls);
    CHECK(after.in_use == before.in_use);
    INFO(g_calls << " handles and lists");
    CHECK(g_largest < 32768);
    CHECK((g_calls > 0) == kCounts);
  }
}

}  // namespace atrous::models
