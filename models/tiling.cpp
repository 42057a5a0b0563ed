#include "atrous/models/tiling.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "atrous/autograd/graph.h"
#include "atrous/autograd/pool2d.h"
#include "atrous/core/error.h"
#include "atrous/models/rectangle.h"
#include "atrous/models/segment.h"

namespace atrous::models {
namespace {

std::int64_t round_down(std::int64_t n, std::int64_t to) { return n / to * to; }
std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

// One axis of the image and of an output map, whose positions lie `step` pixels apart.
class Axis {
 public:
  Axis(std::int64_t image, std::int64_t step, std::int64_t reach, std::int64_t output_stride)
      : image_(image), step_(step), reach_(reach), stride_(output_stride) {}

  std::int64_t outputs() const { return (image_ - 1) / step_ + 1; }
  // The pixels that the outputs depend on, cut where the whole image's outputs lie.
  Range window(Range outputs) const {
    const std::int64_t first = outputs.begin * step_ - reach_, last = (outputs.end - 1) * step_ + reach_;
    return {round_down(std::max<std::int64_t>(0, first), stride_),
            std::min(image_, round_up(std::max<std::int64_t>(0, last), stride_) + 1)};
  }

 private:
  std::int64_t image_, step_, reach_, stride_;
};

// Runs `network` window by window and puts the parts of its output together, on the host.
Tensor assemble(const std::function<Variable(const Variable&)>& network, const Tensor& x, Device device,
                std::int64_t tile, std::int64_t step, std::int64_t reach, std::int64_t output_stride) {
  const Axis rows(x.dim(1), step, reach, output_stride), columns(x.dim(2), step, reach, output_stride);
  const std::int64_t side = std::max<std::int64_t>(1, tile / step);
  Tensor whole;
  for (std::int64_t top = 0; top < rows.outputs(); top += side) {
    for (std::int64_t left = 0; left < columns.outputs(); left += side) {
      const Range tile_rows{top, std::min(top + side, rows.outputs())};
      const Range tile_columns{left, std::min(left + side, columns.outputs())};
      const Range from_rows = rows.window(tile_rows), from_columns = columns.window(tile_columns);
      Tensor window = Tensor::empty({x.dim(0), from_rows.size(), from_columns.size(), x.dim(3)});
      copy_rectangle(x, from_rows, from_columns, window, 0, 0);
      const Tensor part = network(Variable(window.to(device))).value().to(kCpu);
      if (!whole.defined()) whole = Tensor::empty({x.dim(0), rows.outputs(), columns.outputs(), part.dim(3)});
      const std::int64_t first_row = top - from_rows.begin / step,
                         first_column = left - from_columns.begin / step;
      copy_rectangle(part, {first_row, first_row + tile_rows.size()},
                     {first_column, first_column + tile_columns.size()}, whole, top, left);
    }
  }
  return whole;
}

// Pixels between neighbours of a map that a network made of an image.
std::int64_t step_of(const Shape& image, const Shape& map, std::int64_t output_stride) {
  for (const int axis : {1, 2})
    if (map[axis] > 1) return (image[axis] - 1) / (map[axis] - 1);
  return output_stride;
}

}  // namespace

std::int64_t reach(const std::function<Variable(const Variable&)>& network, std::int64_t output_stride,
                   const std::string& name) {
  const NoGrad no_grad;
  constexpr std::int64_t kMost = 32768;
  for (std::int64_t side = 512; side <= kMost; side *= 4) {
    const std::int64_t centre = round_up(side, output_stride), width = 2 * centre + 1;
    Tensor x = Tensor::zeros({1, 1, width, 3});
    for (std::int64_t c = 0; c < 3; ++c)
      x.span<float>()[centre * 3 + c] = std::numeric_limits<float>::quiet_NaN();
    const Tensor y = network(Variable(x)).value().to(kCpu);
    const std::int64_t outputs = y.dim(2), channels = y.dim(3),
                       step = step_of(x.shape(), y.shape(), output_stride);
    std::int64_t first = outputs, last = -1;
    for (std::int64_t i = 0; i < outputs; ++i)
      for (std::int64_t c = 0; c < channels; ++c)
        if (std::isnan(y.span<float>()[i * channels + c])) {
          first = std::min(first, i);
          last = i;
        }
    if (first == 0 || last == outputs - 1) continue;  // it may be seen from beyond: a longer row
    // The NaN sat at a multiple of the stride; from the pixels between two of them an output may see up to a
    // stride further.
    return std::max(centre - first * step, last * step - centre) + output_stride;
  }
  fail<ValueError>("tiling", name, " sees more than ", kMost,
                   " pixels around each one: a part of the image does not say what it finds there");
}

Tensor tiled_logits(Model& model, const Tensor& x, std::int64_t tile) {
  const std::int64_t stride = model.config().output_stride;
  const std::string& name = model.config().name;
  ATROUS_CHECK(ShapeError, x.rank() == 4 && x.dim(3) == 3 && x.dim(1) % stride == 1 && x.dim(2) % stride == 1,
               "tiling", "images are [N, k * ", stride, " + 1, k * ", stride, " + 1, 3], not ", x.shape());
  ATROUS_CHECK(ValueError, tile >= stride, "tiling", "tiles of ", tile, " pixels; ", name,
               " has an output stride of ", stride);
  const NoGrad no_grad;
  const EvalScope eval(model);
  const Device device = model.device();
  Variable image_mean;
  const auto on_device = [&](const Variable& v) { return Variable(v.value().to(device)); };
  const auto high = [&](const Variable& image) { return model.backbone().features(on_device(image)).high; };
  const auto logits = [&](const Variable& image) {
    Features features = model.backbone().features(on_device(image));
    features.image_mean = image_mean;
    return model.head().forward(features);
  };
  const std::int64_t backbone_reach = reach(high, stride, name);
  if (model.head().pools_image()) {
    const Tensor map = assemble(high, x, device, tile, stride, backbone_reach, stride);
    image_mean = global_avg_pool2d(Variable(map.to(device)));
  }
  layers::Summary unused;
  const Shape whole = model.trace(x.shape(), "", unused);
  const std::int64_t step = step_of(x.shape(), whole, stride);
  return assemble(
      logits, x, device, tile, step,
      reach(
          [&](const Variable& row) {
            // The row is one image of many: its mean is not what is measured.
            Features features = model.backbone().features(on_device(row));
            if (image_mean.defined()) {
              const Tensor& m = image_mean.value();
              features.image_mean = Variable(Tensor::zeros({1, 1, 1, m.dim(3)}, m.dtype(), device));
            }
            return model.head().forward(features);
          },
          stride, name),
      stride);
}

}  // namespace atrous::models
