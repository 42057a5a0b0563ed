#include "atrous/models/crf_file.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <type_traits>
#include <vector>

#include "atrous/autograd/reduce.h"
#include "atrous/core/error.h"
#include "atrous/io/safetensors.h"
#include "atrous/io/safetensors_header.h"

namespace atrous::models {
namespace {

constexpr const char* kFormat = "1";
constexpr const char* kFormatKey = "atrous.crf.format";
constexpr int kMost = 65536;  // of every number in the settings

// The settings that are no parameters, by name: writing and reading go through the same list.
template <class Settings, class Visit>
void visit_settings(Settings& s, Visit&& visit) {
  visit("classes", s.classes);
  visit("image_channels", s.image_channels);
  visit("learning", s.learning);
  visit("iterations", s.start.iterations);
  visit("normalization", s.start.normalization);
  visit("method", s.start.method);
  visit("gaussian_sigma", s.start.gaussian_sigma);
  visit("bilateral_sigma_xy", s.start.bilateral_sigma_xy);
  visit("bilateral_sigma_rgb", s.start.bilateral_sigma_rgb);
}

const char* name_of(CrfLearning v) { return crf_learning_name(v); }
const char* name_of(Normalization v) { return normalization_name(v); }
const char* name_of(FilterMethod v) { return filter_method_name(v); }
constexpr CrfLearning last_of(CrfLearning) { return CrfLearning::factored; }
constexpr Normalization last_of(Normalization) { return Normalization::symmetric; }
constexpr FilterMethod last_of(FilterMethod) { return FilterMethod::automatic; }

std::string key_of(const std::string& field) { return "atrous.crf." + field; }

struct Writer {
  std::map<std::string, std::string>& metadata;

  template <class Value>
  void operator()(const char* field, Value value) {
    if constexpr (std::is_enum_v<Value>) {
      metadata[key_of(field)] = name_of(value);
    } else {
      char text[32];
      metadata[key_of(field)] = {text, std::to_chars(text, text + sizeof text, value).ptr};
    }
  }
};

struct Reader {
  const std::string& path;
  const std::map<std::string, std::string>& metadata;

  template <class Value>
  void operator()(const char* field, Value& to) {
    const auto found = metadata.find(key_of(field));
    ATROUS_CHECK(IoError, found != metadata.end(), "crf", path, ": its metadata lack ", key_of(field));
    const std::string& text = found->second;
    if constexpr (std::is_enum_v<Value>) {
      for (int i = 0; i <= int(last_of(to)); ++i)
        if (text == name_of(Value(i))) return void(to = Value(i));
    } else {
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to);
      if (error == std::errc() && end == text.data() + text.size() && to > 0 && to <= kMost) return;
    }
    fail<IoError>("crf", path, ": ", key_of(field), " cannot be ", io::printable(text));
  }
};

// That the file has labels of as many classes as it says, before memory for so many is asked for.
void check_classes(const std::string& path, const CrfLayerSettings& s,
                   const std::map<std::string, Tensor>& tensors) {
  if (s.learning == CrfLearning::potts) return;
  const Shape wanted{1, 1, s.classes, s.learning == CrfLearning::diagonal ? 1 : s.classes};
  const auto labels = tensors.find("gaussian_labels");
  ATROUS_CHECK(IoError, labels != tensors.end() && labels->second.shape() == wanted, "crf", path,
               ": wanted tensor \"gaussian_labels\" ", wanted, ", file has ",
               labels == tensors.end() ? Shape{} : labels->second.shape());
}

}  // namespace

void save_crf(const CrfLayer& crf, const std::string& path) {
  std::map<std::string, Tensor> tensors;
  for (const layers::Parameter& p : crf.named_parameters())
    tensors[p.name] = p.variable.value().to(kCpu).to(Dtype::f32);
  std::map<std::string, std::string> metadata = {{kFormatKey, kFormat}};
  visit_settings(crf.settings(), Writer{metadata});
  io::write_safetensors(path, tensors, metadata);
}

std::unique_ptr<CrfLayer> load_crf(const std::string& path) {
  const io::SafeTensors file = io::read_safetensors(path);
  const auto format = file.metadata.find(kFormatKey);
  ATROUS_CHECK(IoError, format != file.metadata.end(), "crf", path, ": holds no CRF: its metadata lack ",
               kFormatKey);
  ATROUS_CHECK(IoError, format->second == kFormat, "crf", path, ": format ", io::printable(format->second),
               "; this library reads ", kFormat);
  CrfLayerSettings settings;
  visit_settings(settings, Reader{path, file.metadata});
  check_classes(path, settings, file.tensors);
  auto crf = std::make_unique<CrfLayer>(settings);
  const std::vector<layers::Parameter> parameters = crf->named_parameters();
  for (const layers::Parameter& p : parameters) {
    const auto found = file.tensors.find(p.name);
    ATROUS_CHECK(IoError, found != file.tensors.end(), "crf", path, ": tensor \"", p.name, "\" is missing");
    Tensor to = p.variable.value();
    ATROUS_CHECK(IoError, found->second.shape() == to.shape() && found->second.dtype() == to.dtype(), "crf",
                 path, ": wanted tensor \"", p.name, "\" ", to.shape(), " of ", to.dtype(), ", file has ",
                 found->second.shape(), " of ", found->second.dtype());
    ATROUS_CHECK(IoError, all_finite(found->second), "crf", path, ": tensor \"", p.name,
                 "\" holds a value that is not finite");
    to.copy_from(found->second);
  }
  for (const auto& [name, tensor] : file.tensors)
    ATROUS_CHECK(IoError,
                 std::any_of(parameters.begin(), parameters.end(),
                             [&](const layers::Parameter& p) { return p.name == name; }),
                 "crf", path, ": tensor \"", name, "\" ", tensor.shape(), " is not in a CRF of learning ",
                 crf_learning_name(settings.learning));
  return crf;
}

}  // namespace atrous::models
