#include "atrous/core/recycled.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace atrous {

TEST_CASE("recycled: blocks are apart, aligned and large enough", "[core]") {
  std::vector<RecycledVector<unsigned char>> blocks;
  for (std::size_t bytes = 1; bytes < 70000; bytes += bytes / 3 + 1)
    for (unsigned char mark : {1, 2}) blocks.emplace_back(bytes, mark);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto& block = blocks[i];
    CHECK(std::uintptr_t(block.data()) % __STDCPP_DEFAULT_NEW_ALIGNMENT__ == 0);
    CHECK(std::all_of(block.begin(), block.end(), [&](int v) { return v == 1 + int(i % 2); }));
  }
}

#if !defined(__SANITIZE_ADDRESS__)  // there every block is freed
TEST_CASE("recycled: what was freed is given out again, to its size alone", "[core]") {
  void* const first = detail::take_recycled(100);
  void* const other = detail::take_recycled(300);
  detail::give_recycled(first, 100);
  detail::give_recycled(other, 300);
  CHECK(detail::take_recycled(65) == first);  // both of up to 128 bytes
  CHECK(detail::take_recycled(512) == other);
  detail::give_recycled(first, 65);
  detail::give_recycled(other, 512);
}
#endif

TEST_CASE("recycled: threads take and give back at once, also what others took", "[core]") {
  using Block = std::shared_ptr<RecycledVector<int>>;
  constexpr int kThreads = 4, kRounds = 2000;
  std::vector<std::atomic<bool>> wrong(kThreads);
  std::vector<Block> handed(kThreads);
  for (int pass = 0; pass < 2; ++pass) {  // the second frees what the neighbours made in the first
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        handed[std::size_t(t + pass) % kThreads].reset();
        Block last;
        for (int i = 0; i < kRounds; ++i) {
          const Block block = make_recycled<RecycledVector<int>>(std::size_t(1 + (i * 7 + t) % 40), t);
          std::this_thread::yield();
          if (std::any_of(block->begin(), block->end(), [&](int v) { return v != t; }))
            wrong[std::size_t(t)] = true;
          last = block;
        }
        if (pass == 0) handed[std::size_t(t)] = last;
      });
    for (auto& thread : threads) thread.join();
  }
  for (const auto& w : wrong) CHECK(!w);
}

}  // namespace atrous
