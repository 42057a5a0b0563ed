#include "bench/support/layer_rows.h"

#include "atrous/core/memory.h"
#include "bench/support/benches.h"

namespace atrous::bench {

const char* name_of(Direction d) {
  switch (d) {
    case Direction::forward:
      return "forward";
    case Direction::backward:
      return "backward";
    case Direction::backward_input:
      return "backward_input";
    case Direction::backward_weight:
      return "backward_weight";
    case Direction::forward_backward:
      return "forward_backward";
  }
  return "?";
}

std::vector<Direction> directions(Kind kind) {
  switch (kind) {
    case Kind::conv:
    case Kind::depthwise:
    case Kind::separable:
    case Kind::aspp:
    case Kind::transposed:
      return {Direction::forward, Direction::backward_input, Direction::backward_weight};
    case Kind::bilinear:
    case Kind::max_pool:
    case Kind::avg_pool:
    case Kind::global_pool:
    case Kind::hard_swish:
      return {Direction::forward, Direction::backward_input};
    case Kind::scale_channels:
      return {Direction::forward, Direction::backward};
    case Kind::batch_norm:
    case Kind::batch_norm_add:
      return {Direction::forward, Direction::backward, Direction::forward_backward};
    case Kind::cross_entropy:
    case Kind::upsample_loss:
      return {Direction::forward, Direction::forward_backward};
    case Kind::upsample_argmax:
      return {Direction::forward};
  }
  return {};
}

bool wants(Direction direction, std::size_t input) {
  return direction == Direction::backward_input ? input == 0
                                                : direction != Direction::backward_weight || input > 0;
}

double work(Direction d, const Operation& op) {
  const double gradients = op.inputs.size() > 1 && op.linear ? 2 : 1;
  switch (d) {
    case Direction::backward:
      return gradients;
    case Direction::forward_backward:
      return 1 + gradients;
    default:
      return 1;
  }
}

std::string row(const Layer& layer, std::int64_t batch) {
  return std::string(layer.key) + "b" + std::to_string(batch);
}

Ready& ready(const Layer& layer, std::int64_t batch) {
  static Ready held;
  if (const std::string name = row(layer, batch); held.name != name) {
    held = {};
    trim_memory();
    if (cuda_device_count() > 0) trim_memory(kCuda);
    held.operation = make_operation(layer, batch);
    held.name = name;
  }
  return held;
}

void report(benchmark::State& state, const Layer& layer, double flops, double bytes) {
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  if (flops > 0) state.counters["FLOP/s"] = benchmark::Counter(flops, rate);
  if (bytes > 0) state.counters["bytes/s"] = benchmark::Counter(bytes, rate, benchmark::Counter::kIs1024);
  state.SetLabel(layer.place);
}

void register_layers(const Devices& devices) {
  if (devices.cpu) register_layers_cpu();
  if (devices.cuda) register_layers_cuda();
}

}  // namespace atrous::bench
