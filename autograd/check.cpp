#include "atrous/autograd/check.h"

namespace atrous {

void check_match(Op op, const char* role_a, const Variable& a, const char* role_b, const Variable& b) {
  ATROUS_CHECK(DtypeError, a.dtype() == b.dtype(), op_name(op), role_a, " is ", a.dtype(), ", ", role_b,
               " is ", b.dtype());
  ATROUS_CHECK(DeviceError, a.device() == b.device(), op_name(op), role_a, " is on ", a.device(), ", ",
               role_b, " on ", b.device());
}

void check_same(Op op, const char* role_a, const Variable& a, const char* role_b, const Variable& b) {
  ATROUS_CHECK(ShapeError, a.shape() == b.shape(), op_name(op), role_a, ' ', a.shape(), " and ", role_b, ' ',
               b.shape(), " must have the same shape");
  check_match(op, role_a, a, role_b, b);
}

void check_rank(Op op, const char* role, const Variable& v, int rank, const char* axes) {
  ATROUS_CHECK(ShapeError, v.value().rank() == rank, op_name(op), role, ' ', v.shape(), " must be ", axes);
}

}  // namespace atrous
