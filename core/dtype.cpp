#include "atrous/core/dtype.h"

namespace atrous {

const char* dtype_name(Dtype dtype) {
  switch (dtype) {
    case Dtype::f32:
      return "f32";
    case Dtype::f64:
      return "f64";
    case Dtype::bf16:
      return "bf16";
    case Dtype::u8:
      return "u8";
    case Dtype::i32:
      return "i32";
    case Dtype::i64:
      return "i64";
  }
  return "?";
}

std::int64_t dtype_size(Dtype dtype) {
  return visit_dtype(dtype, []<class T>() { return std::int64_t(sizeof(T)); });
}

std::ostream& operator<<(std::ostream& out, Dtype dtype) { return out << dtype_name(dtype); }

}  // namespace atrous
