#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "atrous/autograd/graph.h"
#include "atrous/core/error.h"
#include "atrous/io/file.h"
#include "atrous/io/npy.h"
#include "atrous/layers/observer.h"
#include "atrous/models/weights.h"
#include "examples/support/program.h"

// parity: a model's activations against those of another implementation, layer by layer, and the first layer
// that departs.

using namespace atrous;
using namespace atrous::examples;

namespace {

struct Flags {
  CommonFlags common;
  std::string weights, input, reference;
  double tolerance = 1e-3;
  bool prepared = false;
};

// One layer with a reference.
struct Row {
  std::string layer;
  Shape shape;
  double difference = 0, largest = 0;  // of the layer's outputs; the reference's greatest
  std::string trouble;                 // why they cannot be compared
  bool departs = false;
};

// The reference as [N, H, W, C]: it may be [N, C, H, W], or without N = 1.
Tensor in_our_order(const Tensor& reference, const Shape& ours) {
  Tensor x = reference.to(Dtype::f32);
  if (x.rank() == 3) x = x.reshape({1, x.dim(0), x.dim(1), x.dim(2)});
  if (x.shape() == ours) return x;
  if (x.rank() != 4 || x.shape() != Shape{ours[0], ours[3], ours[1], ours[2]}) return {};
  Tensor y = Tensor::empty(ours);
  const std::int64_t pixels = ours[1] * ours[2], channels = ours[3];
  for (std::int64_t n = 0; n < ours[0]; ++n)
    for (std::int64_t p = 0; p < pixels; ++p)
      for (std::int64_t c = 0; c < channels; ++c)
        y.span<float>()[(n * pixels + p) * channels + c] = x.span<float>()[(n * channels + c) * pixels + p];
  return y;
}

Row compared(const std::string& layer, const Tensor& output, const std::string& path, double tolerance) {
  Row row{.layer = layer, .shape = output.shape(), .trouble = {}};
  const Tensor reference = io::read_npy(path);
  const Tensor wanted = in_our_order(reference, output.shape());
  if (!wanted.defined()) {
    std::ostringstream text;
    text << "the reference has shape " << reference.shape();
    row.trouble = text.str();
    row.departs = true;
    return row;
  }
  const Span<const float> a = output.span<float>(), b = wanted.span<float>();
  for (std::int64_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double(a[i]) - double(b[i]));
    // Whoever has the NaN, it is as far away as can be.
    row.difference = std::isnan(difference) ? INFINITY : std::max(row.difference, difference);
    row.largest = std::max(row.largest, std::abs(double(b[i])));
    if (std::isinf(row.difference)) break;
  }
  row.departs = !(row.difference <= tolerance * row.largest);
  return row;
}

std::map<std::string, std::string> reference_files(const std::string& folder) {
  namespace fs = std::filesystem;
  ATROUS_CHECK(IoError, fs::is_directory(folder), "parity", folder, ": is not a folder");
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".npy") files[entry.path().stem().string()] = entry.path().string();
  ATROUS_CHECK(IoError, !files.empty(), "parity", folder, ": no .npy file in it");
  return files;
}

// Layers by name. A layer is known by its first parameter, whose name goes on behind the layer's own.
class LayerNames {
 public:
  explicit LayerNames(const models::Model& model) {
    for (const auto& p : model.named_parameters()) names_[std::as_const(p.variable.value()).data()] = p.name;
  }
  std::string operator()(const layers::Module& layer) const {
    const auto parameters = layer.named_parameters();
    const auto found = names_.find(std::as_const(parameters.front().variable.value()).data());
    const std::size_t own = found->second.size() - parameters.front().name.size();
    return own == 0 ? "logits" : found->second.substr(0, own - 1);
  }

 private:
  std::map<const void*, std::string> names_;
};

// Runs the model once and compares as it goes: no activation is kept. While somebody looks, layers run one by
// one; a prepared model is run a second time with nobody looking, for its logits.
std::vector<Row> run_and_compare(models::Model& model, const Tensor& input,
                                 std::map<std::string, std::string>& files, const Flags& flags) {
  const LayerNames name_of(model);
  std::map<std::string, int> calls;
  std::vector<Row> rows;
  const auto whole = files.find("logits");
  const std::string logits_file = whole == files.end() ? "" : whole->second;
  std::optional<layers::ForwardObserver> observer([&](const layers::Module& layer, const Variable& output) {
    std::string name = name_of(layer);
    // A layer that runs again, at another scale of the image, is layer#2.
    if (const int call = ++calls[name]; call > 1) name += "#" + std::to_string(call);
    const auto file = files.find(name);
    if (file == files.end()) return;
    rows.push_back(compared(name, output.value().to(kCpu), file->second, flags.tolerance));
    files.erase(file);
  });
  const NoGrad no_grad;
  const Variable x(input.to(model.device()));
  model.forward(x);
  observer.reset();
  if (flags.prepared && !logits_file.empty())
    rows.push_back(
        compared("logits, unseen", model.forward(x).value().to(kCpu), logits_file, flags.tolerance));
  return rows;
}

std::string json_of(const std::vector<Row>& rows) {
  auto json = nlohmann::ordered_json::array();
  for (const Row& row : rows)
    json.push_back({{"layer", row.layer},
                    {"max_difference", row.difference},
                    {"largest", row.largest},
                    {"departs", row.departs}});
  return json.dump(1) + "\n";
}

void parity(const Flags& flags) {
  const Device device = flags.common.apply();
  auto files = reference_files(flags.reference);
  const auto loaded = models::load_model(flags.weights);
  loaded.model->to(device);
  loaded.model->eval();
  if (flags.prepared) loaded.model->prepare_inference();
  const auto rows = run_and_compare(*loaded.model, io::read_npy(flags.input), files, flags);
  std::printf("%12s %12s %9s  layer\n", "difference", "largest", "relative");
  const Row* first = nullptr;
  for (const Row& row : rows) {
    if (row.departs && !first) first = &row;
    std::ostringstream shape;
    shape << row.shape;
    std::printf("%12.4g %12.4g %9.1e  %s %s%s\n", row.difference, row.largest, row.difference / row.largest,
                row.layer.c_str(), shape.str().c_str(),
                !row.trouble.empty() ? (": " + row.trouble).c_str()
                : &row == first      ? "  <- departs"
                                     : "");
  }
  if (!flags.common.json.empty()) io::write_text(flags.common.json, json_of(rows), "parity");
  for (const auto& [name, path] : files) std::cout << "no layer is called " << name << " (" << path << ")\n";
  ATROUS_CHECK(IoError, !rows.empty(), "parity", flags.reference, ": none of its ", files.size(),
               " files has the name of a layer of ", loaded.model->config().name);
  if (first)
    fail<ValueError>("parity", "the first layer that departs is ", first->layer, ": ",
                     first->trouble.empty() ? "" : first->trouble + ", ", "difference ", first->difference,
                     " of ", first->largest);
  std::printf("%zu layers agree within %g of their largest value\n", rows.size(), flags.tolerance);
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Compares a model's activations with another implementation's, layer by layer; ends with 1 if one "
      "departs.");
  app.add_option("--weights", flags.weights, "Checkpoint, as `train` and `convert` write it")->required();
  app.add_option("--input-npy", flags.input, "Network input, float32 [N, H, W, 3]")->required();
  app.add_option("--reference", flags.reference,
                 "Folder with LAYER.npy files, [N, H, W, C] or [N, C, H, W]; LAYER is a name of ours "
                 "(backbone.block3.expand, head.aspp, ...; logits for the whole)")
      ->required();
  app.add_option("--tolerance", flags.tolerance,
                 "Of the largest difference, relative to the reference's largest value")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  app.add_flag("--prepared", flags.prepared,
               "Run the model as `segment` does, its weights folded and packed once");
  flags.common.add_run(app);
  flags.common.add_json(app);
  return run(app, argc, argv, [&] { parity(flags); });
}
