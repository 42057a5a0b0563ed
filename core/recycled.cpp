#include "atrous/core/recycled.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <mutex>
#include <new>

namespace atrous::detail {
namespace {

constexpr std::size_t kLeast = 32;  // bytes

struct Block {
  Block* next;
};

// Free blocks of one size.
struct Pile {
  std::mutex mutex;
  Block* top = nullptr;
};

// By the power of two. Nothing is made or destroyed at run time, so handles of static lifetime may come
// before and go after everything else.
constinit std::array<Pile, std::numeric_limits<std::size_t>::digits> piles;

std::size_t size_class(std::size_t bytes) { return std::bit_ceil(std::max(bytes, kLeast)); }

// Tools that look for reads of freed memory see each block freed.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeeps = false;
#else
constexpr bool kKeeps = true;
#endif

}  // namespace

void* take_recycled(std::size_t bytes) {
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) throw std::bad_alloc();
  const std::size_t size = size_class(bytes);
  Pile& pile = piles[std::size_t(std::countr_zero(size))];
  {
    const std::lock_guard lock(pile.mutex);
    if (Block* const block = pile.top) {
      pile.top = block->next;
      return block;
    }
  }
  return ::operator new(size);
}

void give_recycled(void* block, std::size_t bytes) noexcept {
  if (!kKeeps) return ::operator delete(block);
  Pile& pile = piles[std::size_t(std::countr_zero(size_class(bytes)))];
  const std::lock_guard lock(pile.mutex);
  pile.top = new (block) Block{pile.top};
}

}  // namespace atrous::detail
