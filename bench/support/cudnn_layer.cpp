#include "bench/support/cudnn_layer.h"

#include <cuda_runtime.h>
#include <cudnn.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "atrous/core/error.h"
#include "atrous/core/stream.h"

// Two attributes are needed by older releases of cuDNN 9 and deprecated in newer ones.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace atrous::bench {
namespace {

using I = std::int64_t;

constexpr std::size_t kMostEngines = 6;
constexpr int kTrials = 5;

void check(cudnnStatus_t status, const char* what) {
  if (status != CUDNN_STATUS_SUCCESS) fail<Error>("cudnn", what, ": ", cudnnGetErrorString(status));
}

// A descriptor of cuDNN's graph interface.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    check(cudnnBackendCreateDescriptor(type, &handle_), "create a descriptor");
  }
  Descriptor(Descriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Descriptor() {
    if (handle_) cudnnBackendDestroyDescriptor(handle_);
  }

  cudnnBackendDescriptor_t get() const { return handle_; }
  template <class T, std::size_t n>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                  const std::array<T, n>& values) {
    check(cudnnBackendSetAttribute(handle_, name, type, I(n), values.data()), "set an attribute");
    return *this;
  }
  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    return set(name, type, std::array<T, 1>{value});
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, value.handle_);
  }
  bool try_finalize() { return cudnnBackendFinalize(handle_) == CUDNN_STATUS_SUCCESS; }
  Descriptor&& finalize() {
    check(cudnnBackendFinalize(handle_), "finalize a descriptor");
    return std::move(*this);
  }

 private:
  cudnnBackendDescriptor_t handle_ = nullptr;
};

// What is convolved: for a transposed layer, the convolution whose adjoint it is.
struct Sizes {
  I batch, in_h, in_w, in_channels, out_h, out_w, out_channels, taps, stride, rate, padding, groups;
};

Sizes sizes_of(const Layer& l, I batch) {
  if (l.kind == Kind::transposed) {
    const I padding = (l.taps - l.stride) / 2;
    const auto out = [&](I side) { return (side - 1) * l.stride - 2 * padding + l.taps; };
    return {batch, out(l.h), out(l.w), l.filters, l.h, l.w, l.channels, l.taps, l.stride, 1, padding, 1};
  }
  const I padding = l.rate * (l.taps - 1) / 2;
  const auto out = [&](I side) { return (side + 2 * padding - l.rate * (l.taps - 1) - 1) / l.stride + 1; };
  const bool depthwise = l.kind == Kind::depthwise;
  return {batch,
          l.h,
          l.w,
          l.channels,
          out(l.h),
          out(l.w),
          depthwise ? l.channels : l.filters,
          l.taps,
          l.stride,
          l.rate,
          padding,
          depthwise ? l.channels : 1};
}

enum Id : I { kX = 1, kWeight = 2, kY = 3 };

Descriptor tensor(I id, Number number, const std::array<I, 4>& nchw) {
  const auto [n, c, h, w] = nchw;
  Descriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  d.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE,
        number == Number::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, nchw)
      .set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, std::array<I, 4>{h * w * c, 1, w * c, c})
      .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, I{16});
  return d.finalize();
}

// Attributes of the three passes in one order: x, weight, y, convolution, alpha, beta.
struct PassNames {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t x, weight, y, convolution, alpha, beta;
};

PassNames names_of(CudnnPass pass) {
  switch (pass) {
    case CudnnPass::forward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case CudnnPass::backward_input:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    default:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
  }
}

// The pass of the layer as a pass of the convolution that it is the adjoint of.
CudnnPass adjoint(CudnnPass pass) {
  if (pass == CudnnPass::forward) return CudnnPass::backward_input;
  return pass == CudnnPass::backward_input ? CudnnPass::forward : pass;
}

Descriptor graph_of(cudnnHandle_t handle, const Sizes& s, CudnnPass pass, Number number) {
  const Descriptor x = tensor(kX, number, {s.batch, s.in_channels, s.in_h, s.in_w});
  const Descriptor weight =
      tensor(kWeight, number, {s.out_channels, s.in_channels / s.groups, s.taps, s.taps});
  const Descriptor y = tensor(kY, number, {s.batch, s.out_channels, s.out_h, s.out_w});
  Descriptor convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const auto both = [](I v) { return std::array<I, 2>{v, v}; };
  convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, I{2})
      .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, both(s.rate))
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, both(s.stride))
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, both(s.padding))
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, both(s.padding))
      .finalize();
  const PassNames names = names_of(pass);
  Descriptor operation(names.type);
  operation.set(names.x, x)
      .set(names.weight, weight)
      .set(names.y, y)
      .set(names.convolution, convolution)
      .set(names.alpha, CUDNN_TYPE_FLOAT, 1.0f)
      .set(names.beta, CUDNN_TYPE_FLOAT, 0.0f)
      .finalize();
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle)
      .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
  return graph.finalize();
}

// Engines with their settings, the likely fastest first.
std::vector<Descriptor> proposals(const Descriptor& graph, cudnnBackendHeurMode_t mode) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
  std::vector<Descriptor> found;
  if (!heuristics.try_finalize()) return found;
  I count = 0;
  check(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
        "count the engines");
  std::vector<cudnnBackendDescriptor_t> handles;
  for (I i = 0; i < count; ++i)
    handles.push_back(found.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  I given = 0;
  check(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &given, handles.data()),
        "ask for engines");
  found.erase(found.begin() + std::ptrdiff_t(given), found.end());
  return found;
}

// Whether the engine rounds f32 factors, to TF32.
bool rounds_factors(const Descriptor& config) {
  const Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t handle = engine.get();
  I count = 0;
  check(cudnnBackendGetAttribute(config.get(), CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                 &count, &handle),
        "ask for an engine");
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes;
  count = 0;
  check(cudnnBackendGetAttribute(engine.get(), CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                 I(notes.size()), &count, notes.data()),
        "ask for an engine's notes");
  const auto end = notes.begin() + std::min<I>(count, I(notes.size()));
  return std::any_of(notes.begin(), end, [](cudnnBackendNumericalNote_t n) {
    return n == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS || n == CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
  });
}

I workspace_of(const Descriptor& plan) {
  I bytes = 0, count = 0;
  check(cudnnBackendGetAttribute(plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
                                 &count, &bytes),
        "ask for a workspace");
  return bytes;
}

}  // namespace

struct CudnnLayer::State {
  Sizes sizes;
  bool transposed = false;
  Number number;
  Device device;
  cudnnHandle_t handle = nullptr;
  std::vector<std::array<Tensor, 3>> sets;  // x, weight and y of the convolution
  std::vector<Descriptor> plans, packs;     // what can be run, and on what: a pack for each set
  Tensor workspace;
  std::string choice;

  Descriptor pack_of(std::size_t set) {
    auto& [x, weight, y] = sets[set];
    Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
             std::array<void*, 3>{x.data(), weight.data(), y.data()})
        .set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, std::array<I, 3>{kX, kWeight, kY})
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace.data());
    return pack.finalize();
  }
  bool execute(const Descriptor& plan, const Descriptor& pack) {
    return cudnnBackendExecute(handle, plan.get(), pack.get()) == CUDNN_STATUS_SUCCESS;
  }
};

CudnnLayer::CudnnLayer(const Layer& layer, I batch, CudnnPass pass, Number number, Device device)
    : state_(new State{.sizes = sizes_of(layer, batch),
                       .transposed = layer.kind == Kind::transposed,
                       .number = number,
                       .device = device,
                       .sets = {},
                       .plans = {},
                       .packs = {},
                       .workspace = {},
                       .choice = {}}) {
  check_usable(device);
  State& s = *state_;
  check(cudnnCreate(&s.handle), "start");
  check(cudnnSetStream(s.handle, static_cast<cudaStream_t>(current_stream(device).handle)), "set the stream");
  const Descriptor graph = graph_of(s.handle, s.sizes, s.transposed ? adjoint(pass) : pass, number);
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    for (const Descriptor& config : proposals(graph, mode)) {
      if (s.plans.size() >= kMostEngines) break;
      if (number == Number::f32 && rounds_factors(config)) continue;
      Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, s.handle)
          .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
      if (plan.try_finalize()) s.plans.push_back(std::move(plan));
    }
    if (!s.plans.empty()) break;
  }
  if (s.plans.empty()) fail<Error>("cudnn", "no engine takes ", layer.key, " in ", name_of(number));
}

CudnnLayer::~CudnnLayer() {
  State& s = *state_;
  s.plans.clear();
  s.packs.clear();
  if (s.handle) cudnnDestroy(s.handle);
}

std::size_t CudnnLayer::bind(const Tensor& x, const Tensor& weight, const Tensor& y) {
  State& s = *state_;
  if (s.transposed)
    s.sets.push_back({y, weight, x});
  else
    s.sets.push_back({x, weight, y});
  return s.sets.size() - 1;
}

void CudnnLayer::choose() {
  State& s = *state_;
  I bytes = 16;
  for (const Descriptor& plan : s.plans) bytes = std::max(bytes, workspace_of(plan));
  s.workspace = Tensor::empty({bytes}, Dtype::u8, s.device);
  const Descriptor pack = s.pack_of(0);
  Event start(s.device), stop(s.device);
  const Stream stream = current_stream(s.device);
  double best = INFINITY;
  std::size_t chosen = 0;
  for (std::size_t p = 0; p < s.plans.size(); ++p) {
    if (!s.execute(s.plans[p], pack)) continue;  // also the warm-up
    start.record(stream);
    for (int i = 0; i < kTrials; ++i) s.execute(s.plans[p], pack);
    stop.record(stream);
    const double seconds = start.seconds_until(stop);
    if (seconds < best) best = seconds, chosen = p;
  }
  if (std::isinf(best)) fail<Error>("cudnn", "none of its ", s.plans.size(), " engines ran");
  s.choice = "engine " + std::to_string(chosen + 1) + " of " + std::to_string(s.plans.size()) + " proposed";
  std::swap(s.plans[0], s.plans[chosen]);
  s.plans.erase(s.plans.begin() + 1, s.plans.end());
  s.packs.clear();
  for (std::size_t set = 0; set < s.sets.size(); ++set) s.packs.push_back(s.pack_of(set));
}

void CudnnLayer::run(std::size_t set) {
  if (!state_->execute(state_->plans[0], state_->packs[set])) fail<Error>("cudnn", "the engine failed");
}

const std::string& CudnnLayer::choice() const { return state_->choice; }

// Ours are [R, S, C, K], depthwise [R, S, C, 1], transposed [R, S, K, C] (filters before the channels that
// they read); cuDNN's are [filters of the convolution, R, S, channels of a filter]. In each of ours the last
// two axes are (what varies within a filter, filter), but for depthwise, where they are (filter, 1).
Tensor CudnnLayer::weight_for_cudnn(const Tensor& weight) const {
  const Sizes& s = state_->sizes;
  const I taps = s.taps * s.taps, within = s.in_channels / s.groups;
  Tensor result = Tensor::empty({s.out_channels, s.taps, s.taps, within});
  const Span<const float> from = weight.span<float>();
  const Span<float> to = result.span<float>();
  for (I tap = 0; tap < taps; ++tap)
    for (I c = 0; c < within; ++c)
      for (I k = 0; k < s.out_channels; ++k)
        to[(k * taps + tap) * within + c] = from[(tap * within + c) * s.out_channels + k];
  return result;
}

Tensor CudnnLayer::weight_from_cudnn(const Tensor& weight) const {
  const Sizes& s = state_->sizes;
  const I taps = s.taps * s.taps, within = s.in_channels / s.groups;
  Tensor result = Tensor::empty({s.taps, s.taps, within, s.out_channels});
  const Span<const float> from = weight.span<float>();
  const Span<float> to = result.span<float>();
  for (I tap = 0; tap < taps; ++tap)
    for (I c = 0; c < within; ++c)
      for (I k = 0; k < s.out_channels; ++k)
        to[(tap * within + c) * s.out_channels + k] = from[(k * taps + tap) * within + c];
  return result;
}

}  // namespace atrous::bench
