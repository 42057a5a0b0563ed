#include "atrous/layers/module.h"

#include "atrous/core/error.h"

namespace atrous::layers {

template <class Self, class F>
void Module::visit(Self& self, const std::string& prefix, F&& f) {
  f(self, prefix);
  for (const auto& [name, child] : self.children_) visit(static_cast<Self&>(*child), prefix + name + ".", f);
}

std::vector<Parameter> Module::named_parameters() const {
  std::vector<Parameter> all;
  visit(*this, "", [&](const Module& m, const std::string& prefix) {
    for (const OwnParameter& p : m.parameters_) all.push_back({prefix + p.name, p.variable, p.kind});
  });
  return all;
}

std::vector<Buffer> Module::named_buffers() const {
  std::vector<Buffer> all;
  visit(const_cast<Module&>(*this), "", [&](Module& m, const std::string& prefix) {
    for (OwnBuffer& b : m.buffers_) all.push_back({prefix + b.name, &b.tensor, b.kind});
  });
  return all;
}

std::int64_t Module::parameter_count() const {
  std::int64_t count = 0;
  for (const Parameter& p : named_parameters()) count += p.variable.value().numel();
  return count;
}

void Module::check_weights(const char* what) const {
  for (const Parameter& p : named_parameters())
    ATROUS_CHECK(ValueError, !p.variable.value().released(), what, "\"", p.name,
                 "\" was released by prepare_inference: load the model again");
}

void Module::train(bool on) {
  if (on) check_weights("train");
  visit(*this, "", [&](Module& m, const std::string&) {
    m.training_ = on;
    if (on) m.set_prepared({.sizes = 0});
  });
}

void Module::prepare_inference(const InferenceOptions& o) {
  ATROUS_CHECK(ValueError, o.sizes >= 1, "prepare_inference", "packings for ", o.sizes, " sizes; at least 1");
  ATROUS_CHECK(ValueError, o.sizes == 1 || !o.release_weights, "prepare_inference",
               "weights that are released cannot be packed for ", o.sizes, " sizes; for 1");
  check_weights("prepare_inference");
  eval();
  visit(*this, "", [&](Module& m, const std::string&) { m.set_prepared(o); });
}

void Module::freeze_batch_norm(bool frozen) {
  visit(*this, "", [&](Module& m, const std::string&) { m.set_frozen(frozen); });
}

void Module::set_batch_norm_decay(double decay) {
  ATROUS_CHECK(ValueError, decay >= 0 && decay < 1, "batch_norm", "a decay of ", decay, " is not in [0, 1)");
  visit(*this, "", [&](Module& m, const std::string&) { m.set_decay(decay); });
}

void Module::zero_grad() {
  visit(*this, "", [](Module& m, const std::string&) {
    for (OwnParameter& p : m.parameters_) p.variable.zero_grad();
  });
}

void Module::initialise(std::uint64_t seed) {
  visit(*this, "", [&](Module& m, const std::string& prefix) {
    for (OwnParameter& p : m.parameters_)
      layers::initialise(p.variable.mutable_value(), p.init, seed, prefix + p.name);
    m.set_seed(seed, prefix);
  });
}

template <class Target>
void Module::convert(Target target, Target of_statistics) {
  check_weights("to");
  visit(*this, "", [&](Module& m, const std::string&) {
    for (OwnParameter& p : m.parameters_)
      p.variable = Variable(p.variable.value().to(target), p.variable.requires_grad());
    for (OwnBuffer& b : m.buffers_)
      if (b.kind == BufferKind::statistic) b.tensor = b.tensor.to(of_statistics);
    m.set_prepared({.sizes = 0});
  });
}

void Module::to(Dtype dtype) { convert(dtype, accumulator_dtype(dtype)); }
void Module::to(Device device) { convert(device, device); }

Device Module::device() const {
  const auto parameters = named_parameters();
  return parameters.empty() ? kCpu : parameters.front().variable.device();
}

void Module::check_name(const std::string& name) const {
  ATROUS_CHECK(ValueError, !name.empty() && name.find('.') == std::string::npos, "layer", "the name \"", name,
               "\" is empty or has a dot");
  bool taken = false;
  for (const OwnParameter& p : parameters_) taken |= p.name == name;
  for (const OwnBuffer& b : buffers_) taken |= b.name == name;
  for (const auto& child : children_) taken |= child.first == name;
  ATROUS_CHECK(ValueError, !taken, "layer", "the name \"", name, "\" is taken");
}

Variable& Module::add_parameter(std::string name, const Shape& shape, ParameterKind kind,
                                const Initialiser& init) {
  check_name(name);
  const double start = init.kind == InitKind::constant ? init.value : 0;
  parameters_.push_back({std::move(name), Variable(Tensor::full(shape, start), true), kind, init});
  return parameters_.back().variable;
}

Tensor& Module::add_buffer(std::string name, Tensor value, BufferKind kind) {
  check_name(name);
  buffers_.push_back({std::move(name), std::move(value), kind});
  return buffers_.back().tensor;
}

void Module::add_child(std::string name, Module& child) {
  check_name(name);
  children_.emplace_back(std::move(name), &child);
}

}  // namespace atrous::layers
