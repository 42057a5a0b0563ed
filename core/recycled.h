#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

// Small blocks of host memory that are given out again when they are freed: for the handles of tensors and
// the kernels' lists, of which every pass of a network makes the same hundreds. The first pass asks operator
// new for them; once the largest number of them has been in use, no pass does. Elements of tensors have
// core/memory.h.

namespace atrous {

namespace detail {
/// A block of at least `bytes` bytes, aligned as operator new aligns. Throws std::bad_alloc. Any thread may
/// take one and any give it back. What was given back stays with the process: as many blocks of each size
/// (powers of two) as were ever in use at once.
void* take_recycled(std::size_t bytes);
void give_recycled(void* block, std::size_t bytes) noexcept;
}  // namespace detail

/// Such blocks for the standard library's containers and shared pointers. A loop's body that takes some on
/// its own thread may find none left where the last pass found one: make lists outside of parallel_for.
template <class T>
struct Recycled {
  static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
  using value_type = T;

  Recycled() = default;
  template <class U>
  Recycled(const Recycled<U>&) {}
  T* allocate(std::size_t n) {
    if (n > std::size_t(-1) / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(detail::take_recycled(n * sizeof(T)));
  }
  void deallocate(T* block, std::size_t n) noexcept { detail::give_recycled(block, n * sizeof(T)); }
  template <class U>
  bool operator==(const Recycled<U>&) const {
    return true;
  }
};

template <class T>
using RecycledVector = std::vector<T, Recycled<T>>;

template <class T, class... Args>
std::shared_ptr<T> make_recycled(Args&&... args) {
  return std::allocate_shared<T>(Recycled<T>(), std::forward<Args>(args)...);
}

}  // namespace atrous
