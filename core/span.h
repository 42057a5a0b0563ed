#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "atrous/core/host_device.h"

namespace atrous {

/// A pointer and a count: how kernels receive memory. Owns nothing, may be empty, is legal inside CUDA
/// kernels. Converts from Span<T> to Span<const T>, and from a std::vector.
template <class T>
class Span {
 public:
  constexpr Span() = default;
  ATROUS_HD constexpr Span(T* data, std::int64_t size) : data_(data), size_(size) {}
  template <class U>
  requires(!std::is_same_v<U, T> && std::is_convertible_v<U (*)[], T (*)[]>) ATROUS_HD
      constexpr Span(Span<U> other)
      : data_(other.data()), size_(other.size()) {}
  constexpr Span(std::vector<std::remove_const_t<T>>& v) : data_(v.data()), size_(std::int64_t(v.size())) {}
  constexpr Span(const std::vector<std::remove_const_t<T>>& v) requires(std::is_const_v<T>)
      : data_(v.data()), size_(std::int64_t(v.size())) {}

  ATROUS_HD constexpr T* data() const { return data_; }
  ATROUS_HD constexpr std::int64_t size() const { return size_; }
  ATROUS_HD constexpr bool empty() const { return size_ == 0; }
  ATROUS_HD constexpr T* begin() const { return data_; }
  ATROUS_HD constexpr T* end() const { return data_ + size_; }
  ATROUS_HD constexpr T& operator[](std::int64_t i) const {
    assert(i >= 0 && i < size_);
    return data_[i];
  }
  /// `count` elements from `begin` on.
  ATROUS_HD constexpr Span part(std::int64_t begin, std::int64_t count) const {
    assert(begin >= 0 && count >= 0 && begin + count <= size_);
    return {data_ + begin, count};
  }

 private:
  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace atrous
