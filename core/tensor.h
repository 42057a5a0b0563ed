#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "atrous/core/device.h"
#include "atrous/core/dtype.h"
#include "atrous/core/shape.h"
#include "atrous/core/span.h"
#include "atrous/core/storage.h"

namespace atrous {

/// A dense, row-major array: a shape, an element type and a share in a Storage. Copying a Tensor copies the
/// handle, not the elements; clone() copies those. A default-made Tensor is undefined: it has no elements and
/// no storage.
///
/// span<T>() gives the elements where they are, on a CUDA device to kernels alone; it throws DtypeError if T
/// is not the element type. What follows works on every device. Work on a CUDA device goes on in its stream
/// after the call; what brings numbers to the host (item, to(kCpu), copies into host tensors) waits for it.
class Tensor {
 public:
  Tensor() = default;

  /// Elements undefined.
  static Tensor empty(const Shape& shape, Dtype dtype = Dtype::f32, Device device = kCpu);
  static Tensor zeros(const Shape& shape, Dtype dtype = Dtype::f32, Device device = kCpu);
  static Tensor full(const Shape& shape, double value, Dtype dtype = Dtype::f32, Device device = kCpu);
  /// Copies `values`; their number must be shape.numel().
  template <class T>
  static Tensor from(const Shape& shape, const std::vector<T>& values);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  /// Size of one axis; negative axes count from the end.
  std::int64_t dim(int axis) const;
  std::int64_t numel() const { return defined() ? shape_.numel() : 0; }
  std::int64_t bytes() const { return numel() * dtype_size(dtype_); }
  Dtype dtype() const { return dtype_; }
  Device device() const { return storage_ ? storage_->device() : kCpu; }
  Stream stream() const { return current_stream(device()); }

  void* data() { return storage_ ? storage_->data_to_write() : nullptr; }
  const void* data() const { return storage_ ? storage_->data() : nullptr; }
  template <class T>
  Span<T> span() {
    check_dtype(dtype_of<T>());
    return {static_cast<T*>(data()), numel()};
  }
  template <class T>
  Span<const T> span() const {
    check_dtype(dtype_of<T>());
    return {static_cast<const T*>(data()), numel()};
  }

  /// The only element, as a double. Throws ShapeError unless there is exactly one.
  double item() const;
  /// Another shape over the same storage. Throws ShapeError unless the number of elements agrees.
  Tensor reshape(const Shape& shape) const;
  Tensor clone() const;
  /// Converted to another element type (values, not bits); shares storage if it has it already. Floats become
  /// integers by truncation; what does not fit becomes the nearest integer that does, NaN becomes 0. Of a
  /// tensor on a CUDA device it is done on the host.
  Tensor to(Dtype dtype) const;
  /// On another device; shares storage if it is there already. From the host the copy goes through pinned
  /// staging memory: the call returns while it is on its way.
  Tensor to(Device device) const;
  void fill(double value);
  /// Overwrites the elements with those of a tensor of the same shape (ShapeError) and dtype (DtypeError).
  void copy_from(const Tensor& other);
  /// Changes with the storage, and with every call of data() or span() that lets somebody write to it
  /// (through any handle): equal stamps mean equal elements, as long as nobody writes through a pointer of
  /// before.
  std::pair<std::uint64_t, std::uint64_t> stamp() const {
    return storage_ ? storage_->stamp() : std::pair<std::uint64_t, std::uint64_t>();
  }
  /// Gives the memory of the elements back, for all handles: whoever reads or writes them later gets a
  /// ValueError. Shape, dtype and stamp() stay.
  void release() {
    if (storage_) storage_->release();
  }
  bool released() const { return storage_ && storage_->released(); }
  /// Whether both handles share their elements.
  bool shares_storage(const Tensor& other) const { return storage_ && storage_ == other.storage_; }
  /// Handles that share the elements, this one included.
  long use_count() const { return storage_.use_count(); }

 private:
  void check_dtype(Dtype wanted) const;

  std::shared_ptr<Storage> storage_;
  Shape shape_;
  Dtype dtype_ = Dtype::f32;
};

/// Same shape, dtype and bits (so NaN equals NaN, and 0 differs from -0).
bool identical(const Tensor& a, const Tensor& b);

}  // namespace atrous
