#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace atrous {

/// Every failure of the library is an exception of this type. The text names the operation in brackets, then
/// each tensor with its role and shape, what was expected and what came. Rely on the type, not on the words.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Shapes that do not fit each other or the operation.
class ShapeError : public Error {
 public:
  using Error::Error;
};
/// An element type that the operation does not take.
class DtypeError : public Error {
 public:
  using Error::Error;
};
/// Tensors on different devices, or a device that this build does not have.
class DeviceError : public Error {
 public:
  using Error::Error;
};
/// A call of the CUDA runtime or of cuBLAS that failed.
class CudaError : public Error {
 public:
  using Error::Error;
};
/// A file that cannot be read, written or understood.
class IoError : public Error {
 public:
  using Error::Error;
};
/// An option or a value (a label, a rate, a size) outside of what is allowed.
class ValueError : public Error {
 public:
  using Error::Error;
};
/// An allocation that the system or the cap of set_memory_cap() refused.
class MemoryError : public Error {
 public:
  using Error::Error;
};

/// Throws Kind("[op] pieces..."), the pieces streamed one after the other.
template <class Kind, class... Pieces>
[[noreturn]] void fail(std::string_view op, const Pieces&... pieces) {
  std::ostringstream text;
  text << '[' << op << "] ";
  (text << ... << pieces);
  throw Kind(text.str());
}

}  // namespace atrous

/// Throws `Kind` with the pieces as its text unless `condition` holds. The condition has no side effects.
#define ATROUS_CHECK(Kind, condition, op, ...) \
  do {                                         \
    if (!(condition)) [[unlikely]]             \
      ::atrous::fail<Kind>(op, __VA_ARGS__);   \
  } while (false)
