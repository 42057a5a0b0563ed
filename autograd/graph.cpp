#include "atrous/autograd/graph.h"

#include <algorithm>
#include <atomic>
#include <unordered_set>

#include "atrous/core/error.h"
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
  Op op;
  std::uint64_t sequence;  // later operations have larger numbers, so descending order is a topological one
  std::vector<std::shared_ptr<GradientSlot>> inputs;
  Backward backward;
  bool released = false;
};

}  // namespace detail

using detail::GradientSlot;
using detail::Node;

namespace {

thread_local bool t_grad_enabled = true;

std::shared_ptr<GradientSlot> make_slot(const Tensor& value, bool requires_grad) {
  auto slot = std::make_shared<GradientSlot>();
  slot->shape = value.shape();
  slot->dtype = value.dtype();
  slot->device = value.device();
  slot->requires_grad = requires_grad;
  return slot;
}

// Adds `gradient` to `sum`. A first gradient is taken as it is, shared or not; a sum is only overwritten when
// nobody else holds it.
void accumulate(Tensor& sum, const Tensor& gradient) {
  if (!sum.defined()) {
    sum = gradient;
    return;
  }
  Tensor target = sum.use_count() == 1 ? sum : Tensor::empty(sum.shape(), sum.dtype(), sum.device());
  const Tensor& before = sum;
  visit_float(sum.dtype(), [&]<class T>() {
    kernels::add_forward<T>(sum.stream(), before.span<T>(), gradient.span<T>(), target.span<T>());
  });
  sum = target;
}

}  // namespace

const std::shared_ptr<GradientSlot>& slot_of(const Variable& v) { return v.slot_; }

Variable record_result(Tensor value, std::shared_ptr<Node> node) {
  Variable v(std::move(value));
  if (node) {
    v.slot_->requires_grad = true;
    v.slot_->keep = false;
    v.slot_->node = std::move(node);
  }
  return v;
}

// ---- Variable

Variable::Variable(Tensor value, bool requires_grad) {
  ATROUS_CHECK(ValueError, value.defined(), "variable", "made from an undefined tensor");
  ATROUS_CHECK(DtypeError, !requires_grad || value.dtype() == Dtype::f32 || value.dtype() == Dtype::f64,
               "variable", "gradients want f32 or f64, not ", value.dtype());
  slot_ = make_slot(value, requires_grad);
  slot_->keep = true;
  value_ = std::make_shared<Tensor>(std::move(value));
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

Gradients::Gradients(std::vector<std::shared_ptr<GradientSlot>> slots)
    : slots_(std::move(slots)), results_(slots_.size()) {}

bool Gradients::needed(int i) const {
  return slots_.at(std::size_t(i)) && slots_[std::size_t(i)]->requires_grad;
}

Tensor Gradients::empty(int i) {
  const GradientSlot& slot = *slots_.at(std::size_t(i));
  return results_[std::size_t(i)] = Tensor::empty(slot.shape, slot.dtype, slot.device);
}

void Gradients::set(int i, Tensor gradient) {
  const GradientSlot& slot = *slots_.at(std::size_t(i));
  ATROUS_CHECK(ShapeError, gradient.shape() == slot.shape && gradient.dtype() == slot.dtype, "gradient",
               "input ", i, " is ", slot.shape, ' ', slot.dtype, ", its gradient came as ", gradient.shape(),
               ' ', gradient.dtype());
  results_[std::size_t(i)] = std::move(gradient);
}

bool grad_enabled() { return t_grad_enabled; }
NoGrad::NoGrad() : before_(t_grad_enabled) { t_grad_enabled = false; }
NoGrad::~NoGrad() { t_grad_enabled = before_; }

bool wants_grad(const std::vector<Variable>& inputs) {
  return t_grad_enabled &&
         std::any_of(inputs.begin(), inputs.end(), [](const Variable& v) { return v.requires_grad(); });
}

Variable record(Op op, Tensor y, const std::vector<Variable>& inputs, Backward backward) {
  if (!wants_grad(inputs)) return record_result(std::move(y), nullptr);
  static std::atomic<std::uint64_t> count{0};
  auto node = std::make_shared<Node>();
  node->op = op;
  node->sequence = count++;
  for (const Variable& input : inputs) node->inputs.push_back(slot_of(input));
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
      const Tensor dy = std::exchange(slot->pending, Tensor());
      const std::shared_ptr<Node> node = slot->node;
      if (dy.defined()) {
        if (slot->keep) accumulate(slot->grad, dy);
        Gradients grads(node->inputs);
        node->backward(dy, grads);
        for (std::size_t i = 0; i < node->inputs.size(); ++i)
          if (grads.needed(int(i)) && grads.results_[i].defined())
            hand_on(node->inputs[i], grads.results_[i]);
      }
      if (!retain_graph) {
        node->backward = nullptr;
        node->inputs.clear();
        node->released = true;
      }
      slot.reset();
    }
    for (const auto& leaf : leaves_) accumulate(leaf->grad, std::exchange(leaf->pending, Tensor()));
  }

 private:
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
      for (const auto& input : slot->node->inputs) stack.push_back(input);
    }
  }

  void hand_on(const std::shared_ptr<GradientSlot>& slot, const Tensor& gradient) {
    if (!slot->node && !slot->pending.defined()) leaves_.push_back(slot);
    accumulate(slot->pending, gradient);
  }

  std::vector<std::shared_ptr<GradientSlot>> order_;
  std::vector<std::shared_ptr<GradientSlot>> leaves_;
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
    accumulate(slot_->grad, dy);
    return;
  }
  const NoGrad no_grad;
  BackwardPass pass(slot_);
  slot_->pending = dy;
  pass.run(retain_graph);
}

}  // namespace atrous
