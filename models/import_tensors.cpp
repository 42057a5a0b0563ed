#include "atrous/models/import_tensors.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>

#include "atrous/core/error.h"

namespace atrous::models {
namespace {

enum class Role { weight, bias, gamma, beta, mean, variance };

constexpr std::pair<std::string_view, Role> kEnds[] = {
    {".bn.gamma", Role::gamma},          {".bn.beta", Role::beta},  {".bn.running_mean", Role::mean},
    {".bn.running_var", Role::variance}, {".weight", Role::weight}, {".bias", Role::bias}};

/// Vectors of old Caffe files have four axes, [1, 1, 1, K].
Shape without_leading_ones(const Shape& s) {
  int first = 0;
  while (first + 1 < s.rank() && s[first] == 1) ++first;
  return Shape(std::vector<std::int64_t>(s.begin() + first, s.end()));
}

}  // namespace

struct TensorImporter::Own {
  std::string name;         // "backbone.block0.depthwise.bn.beta"
  std::string convolution;  // "backbone.block0.depthwise"
  Role role = Role::weight;
  bool of_batch_norm = false;
  std::int64_t depthwise_channels = 0;
  bool sees_image = false;  // the first convolution
  Tensor tensor;            // a handle: writing to it writes to the model
};

std::vector<TensorImporter::Own> TensorImporter::own_tensors(const Model& model) {
  std::vector<Own> all;
  const auto add = [&](const std::string& name, const Tensor& tensor, bool depthwise) {
    for (const auto& [end, role] : kEnds) {
      if (!name.ends_with(end)) continue;
      all.push_back({name, name.substr(0, name.size() - end.size()), role, end.starts_with(".bn"),
                     depthwise ? tensor.dim(2) : 0, all.empty(), tensor});
      return;
    }
    fail<ValueError>("models", "tensor \"", name, "\" is none of a convolution or a batch norm");
  };
  for (const layers::Parameter& p : model.named_parameters())
    add(p.name, p.variable.value(), p.kind == layers::ParameterKind::depthwise_weight);
  for (const layers::Buffer& b : model.named_buffers())
    if (b.kind == layers::BufferKind::statistic) add(b.name, *b.tensor, false);
  return all;
}

TensorImporter::TensorImporter(const io::WeightFile& file, const NameMap& map, std::string net)
    : file_(file), map_(map), net_(std::move(net)), taken_(file.tensors().size(), false) {}

template <class... Pieces>
Tensor TensorImporter::problem(const Pieces&... pieces) {
  std::ostringstream text;
  (text << ... << pieces);
  report_->problems.push_back(text.str());
  return {};
}

std::optional<std::size_t> TensorImporter::lookup(const std::string& name) const {
  if (const auto found = file_.find(name)) return found;
  for (const char* prefix : map_.prefixes)
    if (const auto found = file_.find(prefix + name)) return found;
  return std::nullopt;
}

std::optional<std::size_t> TensorImporter::weight_of(const SourceNames& names) const {
  const auto dense = lookup(names.conv + map_.suffixes.weight);
  return dense ? dense : lookup(names.conv + map_.suffixes.depthwise_weight);
}

std::optional<SourceNames> TensorImporter::find(const std::string& convolution) const {
  for (const SourceNames& names : source_names(map_, convolution, net_))
    if (weight_of(names)) return names;
  return std::nullopt;
}

double TensorImporter::share(const Model& model) const {
  double all = 0, here = 0;
  for (const Own& own : own_tensors(model)) {
    if (own.role != Role::weight) continue;
    ++all;
    here += find(own.convolution).has_value();
  }
  return here / all;
}

std::int64_t TensorImporter::channels(const std::string& convolution) const {
  const auto names = find(convolution);
  if (!names) return 0;
  const auto shape = shape_in_our_layout(file_.tensors()[*weight_of(*names)].shape, map_.layout, 0);
  return shape ? (*shape)[3] : 0;
}

std::string TensorImporter::weight_name(const std::string& convolution) const {
  const auto names = find(convolution);
  return names ? file_.tensors()[*weight_of(*names)].name : std::string();
}

void TensorImporter::load(Model& model, const std::set<std::string>& keep, ImportReport& report) {
  report_ = &report;
  std::vector<std::pair<Tensor, Tensor>> copies;
  for (const Own& own : own_tensors(model)) {
    if (keep.count(own.name)) {
      leave(own);
      continue;
    }
    const Tensor value = read(own, model);
    if (value.defined()) copies.emplace_back(own.tensor, value);
  }
  check_left_over();
  note_what_was_done(model.convention());
  if (!report.problems.empty()) return;
  for (auto& [to, from] : copies) to.copy_from(from);
}

Tensor TensorImporter::read(const Own& own, const Model& model) {
  const auto names = find(own.convolution);
  const TensorSuffixes& suffixes = map_.suffixes;
  if (!names) {
    const auto expected = source_names(map_, own.convolution, net_);
    if (expected.empty())
      return problem("missing: \"", own.name, "\" ", own.tensor.shape(), ", for which ", map_.name,
                     " has no name");
    return problem("missing: \"", own.name, "\" ", own.tensor.shape(), ", of \"", expected.front().conv, '"');
  }
  if (own.role == Role::weight) return read_weight(own, *names, model.convention());
  if (own.of_batch_norm && !lookup(names->norm + suffixes.mean))
    if (const auto bias = lookup(names->conv + suffixes.bias)) return read_folded(own, *bias, model);

  const std::string source = own.role == Role::bias    ? names->conv + suffixes.bias
                             : own.role == Role::gamma ? names->scale + suffixes.gamma
                             : own.role == Role::beta  ? names->scale + suffixes.beta
                             : own.role == Role::mean  ? names->norm + suffixes.mean
                                                       : names->norm + suffixes.variance;
  const auto index = lookup(source);
  if (!index)
    return problem("missing: \"", own.name, "\" ", own.tensor.shape(), ", expected as \"", source, '"');
  Tensor value = read_vector(own, *index);
  if (suffixes.factor && (own.role == Role::mean || own.role == Role::variance))
    value = divided(value, *names, own);
  if (value.defined() && own.role == Role::variance)
    for (const float v : value.span<float>())
      if (v < 0) return problem("no variance: \"", file_.tensors()[*index].name, "\" has the value ", v);
  return value;
}

Tensor TensorImporter::read_weight(const Own& own, const SourceNames& names, const Convention& convention) {
  const std::size_t index = *weight_of(names);
  taken_[index] = true;
  const Shape& wanted = own.tensor.shape();
  const io::StoredTensor& stored = file_.tensors()[index];
  const auto shape = shape_in_our_layout(stored.shape, map_.layout, own.depthwise_channels);
  const bool other_images =
      shape && own.sees_image && (*shape)[2] == 3 && shape->with(2, wanted[2]) == wanted;
  if (!shape || (*shape != wanted && !other_images))
    return problem("wrong shape: \"", own.name, "\" wants ", wanted, "; \"", stored.name, "\" has ",
                   stored.shape, ", in our order of axes ", shape ? *shape : stored.shape);
  Tensor value = numbers(index, own);
  if (!value.defined()) return value;
  value = in_our_layout(value, map_.layout, own.depthwise_channels);
  if (*shape != wanted) {
    report_->notes.push_back("fitted " + own.name + " to images of " + std::to_string(wanted[2]) +
                             " channels");
    return with_input_channels(value, wanted[2]);
  }
  // What stands behind a concatenation has its input channels in the order of the parts.
  if (own.name == "head.aspp.project.weight" && convention.image_pooling_first != map_.image_pooling_first) {
    const std::int64_t branch = channels("head.aspp.image_pool");
    value = with_inputs_from(value, map_.image_pooling_first ? branch : wanted[2] - branch);
    moved_.push_back(own.name);
  }
  if (own.convolution.starts_with("head.decoder0") && own.convolution != "head.decoder0.pointwise" &&
      convention.low_level_first != map_.low_level_first) {
    const std::int64_t low = channels("head.low");
    value = with_inputs_from(value, map_.low_level_first ? low : wanted[2] - low);
    moved_.push_back(own.name);
  }
  return value;
}

Tensor TensorImporter::read_folded(const Own& own, std::size_t bias, const Model& model) {
  if (own.role == Role::beta) {
    ++folded_;
    return read_vector(own, bias);
  }
  if (own.role == Role::mean) return Tensor::zeros(own.tensor.shape());
  if (own.role == Role::gamma) return Tensor::full(own.tensor.shape(), 1);
  // So that gamma / sqrt(variance + epsilon) is 1.
  const double epsilon = own.name.starts_with("backbone.") ? model.backbone().batch_norm()->epsilon
                                                           : model.convention().head_batch_norm.epsilon;
  return Tensor::full(own.tensor.shape(), 1 - epsilon);
}

Tensor TensorImporter::read_vector(const Own& own, std::size_t index) {
  taken_[index] = true;
  const io::StoredTensor& stored = file_.tensors()[index];
  if (without_leading_ones(stored.shape) != own.tensor.shape())
    return problem("wrong shape: \"", own.name, "\" wants ", own.tensor.shape(), "; \"", stored.name,
                   "\" has ", stored.shape);
  const Tensor value = numbers(index, own);
  return value.defined() ? value.reshape(own.tensor.shape()) : value;
}

Tensor TensorImporter::numbers(std::size_t index, const Own& own) {
  taken_[index] = true;
  const io::StoredTensor& stored = file_.tensors()[index];
  if (!is_floating(io::dtype_of_element(stored.type)))
    return problem("wrong type: \"", own.name, "\" wants floats; \"", stored.name, "\" is of ",
                   io::dtype_of_element(stored.type));
  const Tensor value = file_.read(index).to(Dtype::f32);
  for (const float v : value.span<float>())
    if (!std::isfinite(v)) return problem("not finite: \"", stored.name, "\" has the value ", v);
  return value;
}

Tensor TensorImporter::divided(const Tensor& value, const SourceNames& names, const Own& own) {
  const auto index = lookup(names.norm + map_.suffixes.factor);
  if (!index || !value.defined()) return value;
  const Tensor factor = numbers(*index, own);
  if (!factor.defined()) return factor;
  if (factor.numel() != 1)
    return problem("wrong shape: \"", file_.tensors()[*index].name, "\" has ", factor.shape(),
                   ", not one number");
  const double by = factor.item();
  Tensor result = Tensor::zeros(value.shape());  // 0 stands for statistics of nothing
  if (by != 0)
    std::transform(value.span<float>().begin(), value.span<float>().end(), result.span<float>().begin(),
                   [by](float v) { return float(v / by); });
  return result;
}

// The file's tensors of the same convolution are not left over.
void TensorImporter::leave(const Own& own) {
  left_.push_back(own.name);
  if (const auto names = find(own.convolution)) {
    taken_[*weight_of(*names)] = true;
    if (const auto bias = lookup(names->conv + map_.suffixes.bias)) taken_[*bias] = true;
  }
}

void TensorImporter::check_left_over() {
  std::map<std::string, std::int64_t> left_out;
  for (std::size_t i = 0; i < file_.tensors().size(); ++i) {
    if (taken_[i]) continue;
    const io::StoredTensor& stored = file_.tensors()[i];
    std::string name = stored.name;
    for (const std::string_view prefix : map_.prefixes)
      if (name.starts_with(prefix)) {
        name.erase(0, prefix.size());
        break;
      }
    const std::string reason = left_out_as(map_, name);
    if (reason.empty())
      problem("surplus: \"", stored.name, "\" ", stored.shape, " is not in the model");
    else
      ++left_out[reason];
  }
  for (const auto& [reason, count] : left_out)
    report_->notes.push_back("left out " + std::to_string(count) + " tensors of the file: " + reason);
}

void TensorImporter::note_what_was_done(const Convention& convention) {
  std::vector<std::string>& notes = report_->notes;
  if (folded_ > 0)
    notes.push_back(std::to_string(folded_) +
                    " convolutions came with their batch norm folded in and have an identity batch norm now");
  for (const std::string& name : moved_)
    notes.push_back("moved the input channels of " + name +
                    " to the order of concatenation of :" + convention.name);
  for (const std::string& name : left_)
    notes.push_back(name + " keeps its initial values: another number of classes");
  for (const std::string& text : file_.skipped()) notes.push_back("left out " + text);
}

}  // namespace atrous::models
