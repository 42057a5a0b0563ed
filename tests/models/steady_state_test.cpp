#include <atomic>
#include <cstdlib>
#include <new>

#include "atrous/autograd/graph.h"
#include "atrous/core/memory.h"
#include "atrous/core/parallel.h"
#include "atrous/models/registry.h"
#include "tests/support/catch.h"

// What a prepared model asks of anybody for its second image and the ones after it: from core/memory.h the
// block of its arena and its logits, both out of what the allocator holds already. From operator new nothing
// for its third image and the ones after it: the second one is the first that runs beside all packed weights,
// and may take a handle more than any moment before it.

namespace {

std::atomic<bool> g_counts{false};
std::atomic<long> g_calls{0};

}  // namespace

#if defined(__SANITIZE_ADDRESS__)  // has its own, and core/recycled.h asks it for every block
constexpr bool kCounts = false;
#else
constexpr bool kCounts = true;

void* operator new(std::size_t bytes, std::align_val_t alignment) {
  g_calls += g_counts;
  const std::size_t line = std::size_t(alignment), whole = (bytes + line - 1) / line * line;
  if (void* block = std::aligned_alloc(line, whole ? whole : line)) return block;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes) { return operator new(bytes, std::align_val_t(16)); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }
#endif

namespace atrous::models {

TEST_CASE("prepared models: from the third image on nothing is allocated", "[models][prepare]") {
  const std::string name = GENERATE(as<std::string>(), "deeplab_v3plus_mobilenet_v2", "deeplab_v3_resnet50",
                                    "deeplab_v3plus_xception_65", "deeplab_v3plus_xception41",
                                    "deeplab_v3_mobilenet_v3_large:torchvision", "deeplab_v2_resnet101");
  const ThreadsScope threads(GENERATE(1, 2));
  CAPTURE(name, atrous::threads());
  auto model = make(name, {.classes = 3, .width = 0.25, .head_width = 0.25});
  model->prepare_inference();
  const NoGrad no_grad;
  const Variable x(Tensor::full({1, 129, 161, 3}, 0.5));
  g_calls = 0, g_counts = true;
  model->forward(x);
  g_counts = false;
  CHECK((g_calls > 0) == kCounts);  // the first image does
  for (int image = 2; image <= 4; ++image) {
    INFO("image " << image);
    const MemoryStats before = memory_stats();
    g_calls = 0, g_counts = true;
    { const Variable logits = model->forward(x); }
    g_counts = false;
    const MemoryStats after = memory_stats();
    CHECK(after.requests - before.requests == 2);  // the arena's block and the logits
    CHECK(after.system_calls == before.system_calls);
    CHECK(after.in_use == before.in_use);
    CHECK(g_calls <= (image == 2 ? 1 : 0));
  }
}

}  // namespace atrous::models
