#include "atrous/autograd/layout.h"

#include "atrous/autograd/check.h"
#include "atrous/core/recycled.h"
#include "atrous/kernels/layout/layout.h"

namespace atrous {
namespace {

std::int64_t channels_of(const Shape& shape) { return shape[shape.rank() - 1]; }

// The elements outside of the last axis. Not numel / channels, which may be zero.
std::int64_t rows_of(const Shape& shape) { return shape.with(shape.rank() - 1, 1).numel(); }

void check_channels(Op op, const char* role, const Variable& x) {
  ATROUS_CHECK(ShapeError, x.value().rank() >= 1, op_name(op), role, ' ', x.shape(), " has no channels");
}

kernels::PadDims pad_dims(const Shape& in, const Padding& p) {
  kernels::PadDims dims{in[0], in[1], in[2], in[3], p.top, p.left, 0, 0};
  std::int64_t negated;
  const bool overflow = __builtin_sub_overflow(0, p.top, &negated) ||
                        __builtin_sub_overflow(0, p.left, &negated) ||
                        __builtin_add_overflow(dims.in_h, p.top, &dims.out_h) ||
                        __builtin_add_overflow(dims.out_h, p.bottom, &dims.out_h) ||
                        __builtin_add_overflow(dims.in_w, p.left, &dims.out_w) ||
                        __builtin_add_overflow(dims.out_w, p.right, &dims.out_w);
  ATROUS_CHECK(ShapeError, !overflow && dims.out_h >= 1 && dims.out_w >= 1, op_name(Op::pad), "padding ", p,
               " leaves no pixel: x ", in);
  return dims;
}

}  // namespace

Variable concat_channels(const Inputs& parts) {
  const Op op = Op::concat_channels;
  ATROUS_CHECK(ValueError, !parts.empty(), op_name(op), "no parts were given");
  check_channels(op, "part 0", parts[0]);
  const Shape& first = parts[0].shape();
  const int last = first.rank() - 1;
  RecycledVector<std::int64_t> counts;
  std::int64_t total = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Shape& shape = parts[i].shape();
    ATROUS_CHECK(ShapeError, shape.rank() == first.rank() && shape.with(last, 1) == first.with(last, 1),
                 op_name(op), "part ", i, ' ', shape, " and part 0 ", first,
                 " must agree in all axes but the last");
    check_match(op, "a part", parts[i], "part 0", parts[0]);
    counts.push_back(channels_of(shape));
    total += counts.back();
  }

  const std::int64_t rows = rows_of(first);
  Tensor y = Tensor::empty(first.with(last, total), parts[0].dtype(), parts[0].device());
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < parts.size(); begin += counts[i++])
    visit_float(y.dtype(), [&]<class T>() {
      kernels::copy_channels<T>(y.stream(), {rows, counts[i], 0, total, begin, counts[i]},
                                parts[i].value().span<T>(), y.span<T>());
    });

  return record(op, y, parts, [rows, total, counts](const Tensor& dy, Gradients& grads) {
    std::int64_t from = 0;
    for (std::size_t i = 0; i < counts.size(); from += counts[i++]) {
      if (!grads.needed(int(i))) continue;
      Tensor dx = grads.empty(int(i));
      visit_float(dy.dtype(), [&]<class T>() {
        kernels::copy_channels<T>(dy.stream(), {rows, total, from, counts[i], 0, counts[i]}, dy.span<T>(),
                                  dx.span<T>());
      });
    }
  });
}

Variable slice_channels(const Variable& x, std::int64_t begin, std::int64_t count) {
  const Op op = Op::slice_channels;
  check_channels(op, "x", x);
  const std::int64_t channels = channels_of(x.shape()), rows = rows_of(x.shape());
  ATROUS_CHECK(ShapeError, begin >= 0 && count >= 1 && begin <= channels && count <= channels - begin,
               op_name(op), count, " channels from ", begin, " on were asked for: x ", x.shape());
  Tensor y = Tensor::empty(x.shape().with(x.shape().rank() - 1, count), x.dtype(), x.device());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::copy_channels<T>(x.stream(), {rows, channels, begin, count, 0, count}, x.value().span<T>(),
                              y.span<T>());
  });
  return record(op, y, {x}, [rows, channels, begin, count](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::embed_channels<T>(dy.stream(), {rows, count, 0, channels, begin, count}, dy.span<T>(),
                                 dx.span<T>());
    });
  });
}

Variable pad(const Variable& x, const Padding& padding, double value) {
  check_rank(Op::pad, "x", x, 4, "[N, H, W, C]");
  const kernels::PadDims dims = pad_dims(x.shape(), padding);
  Tensor y = Tensor::empty({dims.batch, dims.out_h, dims.out_w, dims.channels}, x.dtype(), x.device());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::pad_forward<T>(x.stream(), dims, value, x.value().span<T>(), y.span<T>());
  });
  return record(Op::pad, y, {x}, [dims](const Tensor& dy, Gradients& grads) {
    Tensor dx = grads.empty(0);
    visit_float(dy.dtype(), [&]<class T>() {
      kernels::pad_forward<T>(dy.stream(), dims.transposed(), 0, dy.span<T>(), dx.span<T>());
    });
  });
}

}  // namespace atrous
