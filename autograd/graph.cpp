#include "atrous/autograd/graph.h"

#include <algorithm>
#include <atomic>
#include <unordered_set>

#include "atrous/core/error.h"
#include "atrous/core/recycled.h"
#include "atrous/kernels/elementwise/elementwise.h"

namespace atrous {
namespace detail {

// Gradients flow along slots, which know everything about a variable but its elements. So a record keeps no
// activation alive that no backward function has captured.
struct GradientSlot {
  Shape shape;
  Dtype dtype = Dtype::f32;
  Device device;
  bool requires_grad = false;
  bool keep = false;           // leaves, and results for which keep_grad() was called
  Tensor grad;                 // what callers see
  Tensor pending;              // what this backward pass has gathered so far
  std::shared_ptr<Node> node;  // the operation that made the variable; null for a leaf
};

struct Node {
  struct Input {
    std::shared_ptr<GradientSlot> slot;  // null for an absent input
    bool wanted = false;                 // when recorded: the op kept what this gradient needs
  };

  Op op;
  std::uint64_t sequence;  // later operations have larger numbers, so descending order is a topological one
  std::vector<Input> inputs;
  Backward backward;
  bool released = false;

  ~Node();
};

// Takes a record apart in a loop. Left to the destructors, a chain of operations would be destroyed by as
// many nested calls as it is long, and the stack ends after some ten thousand.
Node::~Node() {
  std::vector<Input> doomed = std::move(inputs);
  while (!doomed.empty()) {
    const std::shared_ptr<GradientSlot> slot = std::move(doomed.back().slot);
    doomed.pop_back();
    if (!slot || slot.use_count() > 1 || !slot->node || slot->node.use_count() > 1) continue;
    // Nobody else holds this operation: its inputs join the list, and it goes without any.
    for (Input& input : slot->node->inputs) doomed.push_back(std::move(input));
    slot->node->inputs.clear();
  }
}

}  // namespace detail

using detail::GradientSlot;
using detail::Node;

namespace {

thread_local bool t_grad_enabled = true;

std::shared_ptr<GradientSlot> make_slot(const Tensor& value, bool requires_grad) {
  auto slot = make_recycled<GradientSlot>();
  slot->shape = value.shape();
  slot->dtype = value.dtype();
  slot->device = value.device();
  slot->requires_grad = requires_grad;
  return slot;
}

// Adds `gradient` to `sum`. A first gradient is taken as it is, shared or not; a sum is only overwritten when
// nobody else holds it.
void accumulate(Tensor& sum, Tensor gradient) {
  if (!sum.defined()) {
    sum = std::move(gradient);
    return;
  }
  Tensor target = sum.use_count() == 1 ? sum : Tensor::empty(sum.shape(), sum.dtype(), sum.device());
  visit_float(sum.dtype(), [&]<class T>() {
    kernels::add_forward<T>(sum.stream(), std::as_const(sum).span<T>(), std::as_const(gradient).span<T>(),
                            target.span<T>());
  });
  sum = target;
}

}  // namespace

const std::shared_ptr<GradientSlot>& slot_of(const Variable& v) { return v.slot_; }

Variable record_result(Tensor value, std::shared_ptr<Node> node) {
  Variable v(std::move(value));
  v.slot_->requires_grad = true;
  v.slot_->keep = false;
  v.slot_->node = std::move(node);
  return v;
}

// ---- Variable

Variable::Variable(Tensor value, bool requires_grad) {
  ATROUS_CHECK(ValueError, value.defined(), "variable", "made from an undefined tensor");
  ATROUS_CHECK(DtypeError, !requires_grad || is_floating(value.dtype()), "variable",
               "gradients want f32, f64 or bf16, not ", value.dtype());
  slot_ = make_slot(value, requires_grad);
  slot_->keep = true;
  value_ = make_recycled<Tensor>(std::move(value));
}

const Tensor& Variable::value() const {
  ATROUS_CHECK(ValueError, value_, "variable", "an undefined variable was used");
  return *value_;
}

Tensor& Variable::mutable_value() {
  ATROUS_CHECK(ValueError, value_, "variable", "an undefined variable was used");
  return *value_;
}

bool Variable::requires_grad() const { return slot_ && slot_->requires_grad; }

void Variable::set_requires_grad(bool wanted) {
  ATROUS_CHECK(ValueError, slot_ && !slot_->node, "variable",
               "only a leaf can be told whether it wants a gradient");
  ATROUS_CHECK(DtypeError, !wanted || is_floating(dtype()), "variable",
               "gradients want f32, f64 or bf16, not ", dtype());
  slot_->requires_grad = wanted;
}

const Tensor& Variable::grad() const {
  static const Tensor none;
  return slot_ ? slot_->grad : none;
}

void Variable::keep_grad() {
  ATROUS_CHECK(ValueError, slot_, "variable", "an undefined variable was used");
  slot_->keep = true;
}

void Variable::zero_grad() {
  if (slot_) slot_->grad = Tensor();
}

void Variable::set_grad(Tensor grad) {
  ATROUS_CHECK(ShapeError, grad.shape() == shape() && grad.dtype() == dtype(), "variable", "a gradient of ",
               grad.shape(), ' ', grad.dtype(), " for a value of ", shape(), ' ', dtype());
  slot_->grad = std::move(grad);
}

Variable Variable::detach() const { return Variable(value()); }

// ---- recording

Gradients::Gradients(const Node& node) : node_(node), results_(node.inputs.size()) {}

GradientSlot& Gradients::slot(int i) const { return *node_.inputs.at(std::size_t(i)).slot; }

bool Gradients::needed(int i) const {
  const Node::Input& input = node_.inputs.at(std::size_t(i));
  return input.wanted && input.slot->requires_grad;
}

Tensor Gradients::empty(int i) {
  const GradientSlot& to = slot(i);
  return results_[std::size_t(i)] = Tensor::empty(to.shape, to.dtype, to.device);
}

void Gradients::set(int i, Tensor gradient) {
  const GradientSlot& to = slot(i);
  ATROUS_CHECK(ShapeError, gradient.shape() == to.shape && gradient.dtype() == to.dtype, op_name(node_.op),
               "input ", i, " is ", to.shape, ' ', to.dtype, ", its gradient came as ", gradient.shape(), ' ',
               gradient.dtype());
  results_[std::size_t(i)] = std::move(gradient);
}

bool grad_enabled() { return t_grad_enabled; }
NoGrad::NoGrad() : before_(t_grad_enabled) { t_grad_enabled = false; }
NoGrad::~NoGrad() { t_grad_enabled = before_; }

bool wants_grad(const Inputs& inputs) {
  return t_grad_enabled &&
         std::any_of(inputs.begin(), inputs.end(), [](const Variable& v) { return v.requires_grad(); });
}

Variable record_node(Op op, Tensor y, const Inputs& inputs, Backward backward) {
  static std::atomic<std::uint64_t> count{0};
  auto node = std::make_shared<Node>();
  node->op = op;
  node->sequence = count++;
  for (const Variable& input : inputs) node->inputs.push_back({slot_of(input), input.requires_grad()});
  node->backward = std::move(backward);
  return record_result(std::move(y), std::move(node));
}

// ---- the reverse run

class BackwardPass {
 public:
  explicit BackwardPass(const std::shared_ptr<GradientSlot>& root) { collect(root); }
  // A backward function that throws leaves no half-gathered gradient behind.
  ~BackwardPass() {
    for (const auto& slot : order_)
      if (slot) slot->pending = Tensor();
    for (const auto& leaf : leaves_) leaf->pending = Tensor();
  }
  BackwardPass(const BackwardPass&) = delete;
  BackwardPass& operator=(const BackwardPass&) = delete;

  void run(bool retain_graph) {
    std::sort(order_.begin(), order_.end(),
              [](const auto& a, const auto& b) { return a->node->sequence > b->node->sequence; });
    for (auto& slot : order_) {
      Tensor dy = std::exchange(slot->pending, Tensor());
      const std::shared_ptr<Node> node = slot->node;
      if (dy.defined()) {
        Gradients grads(*node);
        node->backward(dy, grads);
        for (int i = 0; i < int(node->inputs.size()); ++i)
          if (grads.needed(i) && grads.results_[std::size_t(i)].defined())
            hand_on(node->inputs[std::size_t(i)].slot, std::move(grads.results_[std::size_t(i)]));
      }
      if (!retain_graph) {
        node->backward = nullptr;
        node->inputs.clear();
        node->released = true;
      }
      if (slot->keep && dy.defined()) finished_.push_back({slot, std::move(dy)});
      slot.reset();
    }
    for (const auto& leaf : leaves_) finished_.push_back({leaf, std::exchange(leaf->pending, Tensor())});
    publish();
  }

 private:
  struct Finished {
    std::shared_ptr<GradientSlot> slot;
    Tensor gradient;
  };

  void collect(const std::shared_ptr<GradientSlot>& root) {
    std::vector<std::shared_ptr<GradientSlot>> stack = {root};
    std::unordered_set<const GradientSlot*> seen;
    while (!stack.empty()) {
      const auto slot = std::move(stack.back());
      stack.pop_back();
      if (!slot || !slot->requires_grad || !slot->node || !seen.insert(slot.get()).second) continue;
      ATROUS_CHECK(ValueError, !slot->node->released, op_name(slot->node->op),
                   "backward() a second time through a released record; pass retain_graph the first time");
      order_.push_back(slot);
      for (const auto& input : slot->node->inputs) stack.push_back(input.slot);
    }
  }

  void hand_on(const std::shared_ptr<GradientSlot>& slot, Tensor gradient) {
    if (!slot->node && !slot->pending.defined()) leaves_.push_back(slot);
    accumulate(slot->pending, std::move(gradient));
  }

  // Callers see the new gradients all at once: first everything that may run out of memory, then the
  // additions. No two visible gradients share memory, so that clipping one in place leaves the others as they
  // are.
  void publish() {
    for (auto& [slot, gradient] : finished_) {
      Tensor& ours = slot->grad.defined() ? slot->grad : gradient;
      if (ours.use_count() > 1) ours = ours.clone();
    }
    for (auto& [slot, gradient] : finished_) accumulate(slot->grad, std::move(gradient));
  }

  std::vector<std::shared_ptr<GradientSlot>> order_;
  std::vector<std::shared_ptr<GradientSlot>> leaves_;
  std::vector<Finished> finished_;
};

void Variable::backward(const Tensor& seed, bool retain_graph) const {
  ATROUS_CHECK(ValueError, requires_grad(), "backward",
               "nothing that this variable depends on wants a gradient");
  Tensor dy = seed;
  if (!dy.defined()) {
    ATROUS_CHECK(ShapeError, value().numel() == 1, "backward", "wants one element, or a seed; this is ",
                 shape());
    dy = Tensor::full(shape(), 1.0, dtype(), device());
  }
  ATROUS_CHECK(ShapeError, dy.shape() == shape() && dy.dtype() == dtype(), "backward", "the seed is ",
               dy.shape(), ' ', dy.dtype(), ", the variable ", shape(), ' ', dtype());
  if (!slot_->node) {
    accumulate(slot_->grad, seed.defined() ? dy.clone() : dy);
    return;
  }
  const NoGrad no_grad;
  BackwardPass pass(slot_);
  slot_->pending = dy;
  pass.run(retain_graph);
}

}  // namespace atrous
