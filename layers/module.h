#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "atrous/autograd/variable.h"
#include "atrous/layers/init.h"

// What everything with parameters shares: named parameters and buffers, children, and the switch between
// training and evaluation. Names are dotted paths from the root ("backbone.block3.expand.weight"); they are
// what optimisers, checkpoints and initialisers go by, so they never depend on the order of construction.

namespace atrous::layers {

/// How a tree is prepared for inference (Module::prepare_inference).
struct InferenceOptions {
  int sizes = 1;  ///< of images whose packed weights and memory are kept: those seen last
  /// Weights are given up once their packed form is there: a convolution then holds one of them and no longer
  /// both. Only for images of one size; training, saving and converting the model are then errors.
  bool release_weights = false;
};

/// What a parameter is for: optimisers treat the kinds differently (weight decay is for conv_weight alone).
enum class ParameterKind { conv_weight, depthwise_weight, batch_norm, bias };

/// A parameter by its full name. `variable` shares value and gradient with the layer's own.
struct Parameter {
  std::string name;
  Variable variable;
  ParameterKind kind;
};

/// What a buffer is: a statistic belongs to the model and its weight files (batch norm); a counter belongs to
/// a training run (the next dropout mask) and is only saved with one.
enum class BufferKind { statistic, counter };

/// A tensor that is state but not trained, by its full name. The pointer is valid while the module lives.
struct Buffer {
  std::string name;
  Tensor* tensor;
  BufferKind kind;
};

/// A tree of named parameters and buffers. Modules stay where they were made: no copies, no moves.
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// Own parameters first, then those of the children, each in the order of registration.
  std::vector<Parameter> named_parameters() const;
  std::vector<Buffer> named_buffers() const;
  /// Elements of all parameters (buffers are not counted).
  std::int64_t parameter_count() const;

  /// Training mode (batch statistics, dropout) or evaluation mode, for the whole tree. Modules start in
  /// training mode.
  void train(bool on = true);
  void eval() { train(false); }
  bool training() const { return training_; }

  /// Evaluation mode, and from now on the tree keeps for the next image what inference makes of its weights:
  /// batch norms folded into convolutions, weights packed in the order in which kernels read them. The first
  /// image of a size pays for it. Kept are the packings of `sizes` sizes of images (those seen last), each
  /// about as large as the weights, up to four times where Winograd's convolution is taken. Results are the
  /// same bits as without. Weights that are changed afterwards through their tensors (loaders, optimisers,
  /// Tensor::span) are noticed at the next image; train() and to() end it and free what was kept, eval() does
  /// not.
  ///
  /// With `release_weights` the weights' own memory is freed as they are packed, and with it the way back:
  /// what reads them afterwards (train(), to(), preparing again, saving, an image that needs another packing)
  /// throws ValueError. Load the model again for that.
  ///
  /// From the second image of a size on, the allocator (core/memory.h) asks the system for nothing. One
  /// thread at a time runs a prepared tree; nothing of it is used while gradients are recorded. ValueError:
  /// sizes < 1, or weights are to be released and sizes > 1.
  void prepare_inference(const InferenceOptions& options = {});

  /// Batch norms of the whole tree normalise by their running statistics, which no longer change, also in
  /// training mode. Their gamma and beta still learn (Variable::set_requires_grad stops those).
  void freeze_batch_norm(bool frozen = true);
  /// How slowly the running statistics of all batch norms move (BatchNormConstants). ValueError unless it is
  /// in [0, 1).
  void set_batch_norm_decay(double decay);

  /// Forgets every gradient.
  void zero_grad();

  /// Draws every parameter anew by its initialiser. A number depends on `seed`, the parameter's full name and
  /// the element's index alone.
  void initialise(std::uint64_t seed);

  /// Converts parameters to f32, f64 or bf16 and forgets gradients; statistics of a bf16 model are f32.
  /// Optimisers made before hold the old ones.
  void to(Dtype dtype);
  /// Moves parameters and statistics to a device and forgets gradients; counters stay with the host, which
  /// reads them. Optimisers made before hold the old ones.
  void to(Device device);
  /// Where the parameters are; the CPU if there are none.
  Device device() const;

 protected:
  /// A new parameter, of zeros (or the constant of `init`) until initialise(). The reference is valid while
  /// the module lives.
  Variable& add_parameter(std::string name, const Shape& shape, ParameterKind kind, const Initialiser& init);
  Tensor& add_buffer(std::string name, Tensor value, BufferKind kind = BufferKind::statistic);
  /// Throws ValueError for a name that is taken, empty or dotted. The child must live as long as this.
  void add_child(std::string name, Module& child);

  virtual void set_frozen(bool) {}
  virtual void set_decay(double) {}
  /// Told by prepare_inference() to modules that keep something; with sizes = 0 when that ends.
  virtual void set_prepared(const InferenceOptions& /*options*/) {}
  /// Told by initialise() to modules that draw random numbers of their own.
  virtual void set_seed(std::uint64_t /*seed*/, const std::string& /*name*/) {}

 private:
  struct OwnParameter {
    std::string name;
    Variable variable;
    ParameterKind kind;
    Initialiser init;
  };
  struct OwnBuffer {
    std::string name;
    Tensor tensor;
    BufferKind kind;
  };
  /// to(...) for every parameter, and for every statistic.
  template <class Target>
  void convert(Target target, Target of_statistics);
  void check_name(const std::string& name) const;
  /// Throws ValueError if a weight was released.
  void check_weights(const char* what) const;
  /// Calls f(module, prefix) for this and all below; the prefix ends in a dot, or is empty.
  template <class Self, class F>
  static void visit(Self& self, const std::string& prefix, F&& f);

  std::deque<OwnParameter> parameters_;  // deques: references stay valid
  std::deque<OwnBuffer> buffers_;
  std::vector<std::pair<std::string, Module*>> children_;
  bool training_ = true;
};

}  // namespace atrous::layers
