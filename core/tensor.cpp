#include "atrous/core/tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "atrous/core/config.h"
#include "atrous/core/cuda_backend.h"
#include "atrous/core/dry_run.h"
#include "atrous/core/error.h"
#include "atrous/core/later_check.h"
#include "atrous/core/recycled.h"

namespace atrous {
namespace {

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<From, bf16>)
    return convert<To>(float(value));
  else if constexpr (std::is_same_v<To, bf16>)
    return bf16(float(value));
  else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    // A cast of what does not fit is undefined: the nearest number that fits, and 0 for NaN.
    if (std::isnan(value)) return 0;
    if (value <= From(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
    if (value >= From(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
    return static_cast<To>(value);
  } else
    return static_cast<To>(value);
}

// Bytes from one device to another, in the order of their streams. What comes to the host is there on return.
void copy_bytes(void* to, Device to_device, const void* from, Device from_device, std::int64_t count) {
  if (count == 0 || in_dry_run()) return;
  const auto bytes = std::size_t(count);
  if (to_device.is_cpu() && from_device.is_cpu()) {
    std::memmove(to, from, bytes);
    return;
  }
  if constexpr (ATROUS_WITH_CUDA) {
    if (from_device.is_cpu()) return cuda_backend::copy_in(to, from, bytes, current_stream(to_device));
    if (to_device.is_cpu()) return cuda_backend::copy_out(to, from, bytes, current_stream(from_device));
    if (to_device != from_device) cuda_backend::synchronize_stream(current_stream(to_device));
    cuda_backend::copy_on_device(to, from, bytes, current_stream(from_device));
    if (to_device != from_device) cuda_backend::synchronize_stream(current_stream(from_device));
  }
}

}  // namespace

Tensor Tensor::empty(const Shape& shape, Dtype dtype, Device device) {
  std::int64_t bytes = 0;
  ATROUS_CHECK(ShapeError, !__builtin_mul_overflow(shape.numel(), dtype_size(dtype), &bytes), "tensor", shape,
               " of ", dtype, " does not fit into 63 bits of bytes");
  Tensor t;
  t.storage_ = make_recycled<Storage>(std::size_t(bytes), device);
  t.shape_ = shape;
  t.dtype_ = dtype;
  return t;
}

Tensor Tensor::zeros(const Shape& shape, Dtype dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  if (!t.bytes() || in_dry_run()) return t;
  if (device.is_cpu()) {
    std::memset(t.data(), 0, std::size_t(t.bytes()));
  } else if constexpr (ATROUS_WITH_CUDA) {
    cuda_backend::fill_bytes(t.data(), 0, std::size_t(t.bytes()), current_stream(device));
  }
  return t;
}

Tensor Tensor::full(const Shape& shape, double value, Dtype dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  t.fill(value);
  return t;
}

template <class T>
Tensor Tensor::from(const Shape& shape, const std::vector<T>& values) {
  ATROUS_CHECK(ShapeError, shape.numel() == std::int64_t(values.size()), "tensor", shape, " has ",
               shape.numel(), " elements; ", values.size(), " values were given");
  Tensor t = empty(shape, dtype_of<T>());
  if (!in_dry_run()) std::copy(values.begin(), values.end(), t.span<T>().begin());
  return t;
}
template Tensor Tensor::from(const Shape&, const std::vector<float>&);
template Tensor Tensor::from(const Shape&, const std::vector<double>&);
template Tensor Tensor::from(const Shape&, const std::vector<std::uint8_t>&);
template Tensor Tensor::from(const Shape&, const std::vector<std::int32_t>&);
template Tensor Tensor::from(const Shape&, const std::vector<std::int64_t>&);

std::int64_t Tensor::dim(int axis) const {
  const int from_start = axis < 0 ? axis + rank() : axis;
  ATROUS_CHECK(ShapeError, from_start >= 0 && from_start < rank(), "tensor", "axis ", axis, " of ", shape_);
  return shape_[from_start];
}

double Tensor::item() const {
  ATROUS_CHECK(ShapeError, numel() == 1, "tensor", "item() wants one element; this is ", shape_);
  if (in_dry_run()) return 1;
  const Tensor host = to(kCpu);
  return visit_dtype(dtype_, [&]<class T>() { return convert<double>(host.span<T>()[0]); });
}

Tensor Tensor::reshape(const Shape& shape) const {
  ATROUS_CHECK(ValueError, defined(), "reshape", "the tensor is undefined");
  ATROUS_CHECK(ShapeError, shape.numel() == numel(), "reshape", shape_, " has ", numel(), " elements, ",
               shape, " has ", shape.numel());
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::clone() const {
  if (!defined()) return {};
  Tensor t = empty(shape_, dtype_, device());
  t.copy_from(*this);
  return t;
}

Tensor Tensor::to(Dtype dtype) const {
  if (dtype == dtype_ || !defined()) return *this;
  if (!device().is_cpu()) return to(kCpu).to(dtype).to(device());
  Tensor t = empty(shape_, dtype, device());
  if (in_dry_run()) return t;
  visit_dtype(dtype_, [&]<class From>() {
    visit_dtype(dtype, [&]<class To>() {
      const Span<const From> from = span<From>();
      std::transform(from.begin(), from.end(), t.span<To>().begin(), [](From v) { return convert<To>(v); });
    });
  });
  return t;
}

Tensor Tensor::to(Device device) const {
  if (device == this->device() || !defined()) return *this;
  Tensor t = empty(shape_, dtype_, device);
  t.copy_from(*this);
  return t;
}

void Tensor::fill(double value) {
  if (!device().is_cpu()) return copy_from(full(shape_, value, dtype_));
  if (in_dry_run()) return;
  visit_dtype(dtype_, [&]<class T>() {
    const Span<T> elements = span<T>();
    std::fill(elements.begin(), elements.end(), convert<T>(value));
  });
}

void Tensor::copy_from(const Tensor& other) {
  ATROUS_CHECK(ValueError, defined() && other.defined(), "tensor", "copy of or into an undefined tensor");
  ATROUS_CHECK(ShapeError, shape_ == other.shape_, "tensor", "copy of ", other.shape_, " into ", shape_);
  ATROUS_CHECK(DtypeError, dtype_ == other.dtype_, "tensor", "copy of ", other.dtype_, " into ", dtype_);
  copy_bytes(data(), device(), other.data(), other.device(), bytes());
  if (device().is_cpu() && !other.device().is_cpu()) detail::make_later_checks(other.device());
}

void Tensor::check_dtype(Dtype wanted) const {
  ATROUS_CHECK(DtypeError, wanted == dtype_, "tensor", shape_, " holds ", dtype_, ", read as ", wanted);
}

bool identical(const Tensor& a, const Tensor& b) {
  if (a.defined() != b.defined() || a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  if (a.bytes() == 0) return true;
  const Tensor ours = a.to(kCpu), theirs = b.to(kCpu);
  return std::memcmp(ours.data(), theirs.data(), std::size_t(ours.bytes())) == 0;
}

}  // namespace atrous
