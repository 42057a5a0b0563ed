#include "atrous/models/import.h"

#include <cmath>
#include <limits>
#include <map>

#include "atrous/autograd/graph.h"
#include "atrous/core/error.h"
#include "atrous/core/random.h"
#include "atrous/io/image.h"
#include "atrous/io/label_png.h"
#include "atrous/io/npy.h"
#include "atrous/io/safetensors.h"
#include "atrous/models/name_map.h"
#include "atrous/models/registry.h"
#include "atrous/models/segment.h"
#include "atrous/models/weights.h"
#include "tests/support/catch.h"
#include "tests/support/test_files.h"

namespace atrous::models {
namespace {

using Tensors = std::map<std::string, Tensor>;
using tests::TemporaryFolder;

Tensors state_of(const Model& model) {
  Tensors all;
  for (const auto& p : model.named_parameters()) all[p.name] = p.variable.value().clone();
  for (const auto& b : model.named_buffers())
    if (b.kind == layers::BufferKind::statistic) all[b.name] = b.tensor->clone();
  return all;
}

bool same(const Tensors& a, const Tensors& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, tensor] : a)
    if (!b.count(name) || !identical(tensor, b.at(name))) return false;
  return true;
}

// A model whose every number is its own.
std::unique_ptr<Model> noisy(const std::string& name, const ModelOptions& options) {
  auto model = make(name, options);
  Random random(7);
  for (auto& p : model->named_parameters())
    for (float& v : p.variable.mutable_value().span<float>()) v = float(random.uniform(-1, 1));
  for (const auto& b : model->named_buffers())
    if (b.kind == layers::BufferKind::statistic)
      for (float& v : b.tensor->span<float>()) v = float(random.uniform(0.5, 2));
  return model;
}

// Our weight [R, S, C, K] or depthwise [R, S, C, M] as the source has it, by the definition of its axes.
Tensor in_layout(const Tensor& x, WeightLayout layout, bool depthwise) {
  if (layout == WeightLayout::hwio) return x;
  const std::int64_t R = x.dim(0), S = x.dim(1), C = x.dim(2), K = x.dim(3);
  const bool torch = layout == WeightLayout::oihw;
  Tensor y = Tensor::empty(depthwise ? (torch ? Shape{C * K, 1, R, S} : Shape{1, R, S, C * K})
                                     : (torch ? Shape{K, C, R, S} : Shape{K, R, S, C}));
  for (std::int64_t r = 0; r < R; ++r)
    for (std::int64_t s = 0; s < S; ++s)
      for (std::int64_t c = 0; c < C; ++c)
        for (std::int64_t k = 0; k < K; ++k) {
          const float v = x.span<float>()[((r * S + s) * C + c) * K + k];
          const std::int64_t at =
              depthwise ? (torch ? ((c * K + k) * R + r) * S + s : (r * S + s) * C * K + c * K + k)
                        : (torch ? ((k * C + c) * R + r) * S + s : ((k * R + r) * S + s) * C + c);
          y.span<float>()[at] = v;
        }
  return y;
}

std::string without(const std::string& name, const std::string& end) {
  return name.substr(0, name.size() - end.size());
}

// The model's tensors under the names of the source's first rule for each.
Tensors as_source(const Model& model, const NameMap& map, const std::string& net = "") {
  Tensors file;
  for (const auto& p : model.named_parameters()) {
    const Tensor value = p.variable.value();
    const auto put = [&](const std::string& end, auto part, const char* suffix) {
      const auto names = source_names(map, without(p.name, end), net);
      INFO(map.name << " has no name for " << p.name);
      REQUIRE(!names.empty());
      CHECK(file.emplace(names[0].*part + suffix, value).second);  // no two of ours have one name
    };
    const bool depthwise = p.kind == layers::ParameterKind::depthwise_weight;
    if (p.name.ends_with(".bn.gamma")) {
      put(".bn.gamma", &SourceNames::scale, map.suffixes.gamma);
    } else if (p.name.ends_with(".bn.beta")) {
      put(".bn.beta", &SourceNames::scale, map.suffixes.beta);
    } else if (p.name.ends_with(".bias")) {
      put(".bias", &SourceNames::conv, map.suffixes.bias);
    } else {
      const auto names = source_names(map, without(p.name, ".weight"), net);
      INFO(map.name << " has no name for " << p.name);
      REQUIRE(!names.empty());
      const char* suffix = depthwise ? map.suffixes.depthwise_weight : map.suffixes.weight;
      CHECK(file.emplace(names[0].conv + suffix, in_layout(value, map.layout, depthwise)).second);
    }
  }
  for (const auto& b : model.named_buffers()) {
    if (b.kind != layers::BufferKind::statistic) continue;
    const bool mean = b.name.ends_with("mean");
    const auto names = source_names(map, without(b.name, mean ? ".bn.running_mean" : ".bn.running_var"), net);
    REQUIRE(!names.empty());
    file[names[0].norm + (mean ? map.suffixes.mean : map.suffixes.variance)] = b.tensor->clone();
    if (map.suffixes.factor) {  // Caffe keeps sums
      Tensor& stored = file[names[0].norm + (mean ? map.suffixes.mean : map.suffixes.variance)];
      for (float& v : stored.span<float>()) v *= 4;
      file[names[0].norm + map.suffixes.factor] = Tensor::full({1}, 4);
    }
  }
  return file;
}

// A file that is in memory.
class TensorsFile : public io::WeightFile {
 public:
  explicit TensorsFile(const Tensors& all) : WeightFile("memory", "PyTorch", std::int64_t(1) << 32) {
    for (const auto& [name, tensor] : all) {
      add(name, io::ElementType::f32, {tensor.shape().begin(), tensor.shape().end()});
      tensors_.push_back(tensor);
    }
  }
  Tensor read(std::size_t index) const override { return tensors_.at(index); }

 private:
  std::vector<Tensor> tensors_;
};

struct Sample {
  std::unique_ptr<Model> model;
  Tensors file;
};

// TensorFlow's Mobile DeepLabv3, small.
Sample mobile_sample(double width = 0.25) {
  Sample sample;
  sample.model = noisy("deeplab_v3_mobilenet_v2:tf", {.classes = 5, .width = width});
  sample.file = as_source(*sample.model, name_map("tf"));
  return sample;
}

ImportedModel imported(const TemporaryFolder& folder, const Tensors& file, ImportOptions options = {}) {
  io::write_safetensors(folder.file("a"), file);
  if (options.model.empty()) options.model = "deeplab_v3_mobilenet_v2";
  return import_model(folder.file("a"), options);
}

void check_problem(const TemporaryFolder& folder, const Tensors& file, const std::string& text) {
  const ImportedModel result = imported(folder, file);
  CHECK(result.model == nullptr);
  REQUIRE(result.report.problems.size() == 1);
  INFO(result.report.problems[0]);
  CHECK(result.report.problems[0].find(text) != std::string::npos);
  CHECK(result.report.problems[0].find('\n') == std::string::npos);
}

// The weight that sees ASPP's concatenation, its 256-channel parts in the order 1, 0.
Tensor swapped_halves(const Tensor& x) {
  Tensor y = x.clone();
  const std::int64_t half = x.numel() / 2;
  for (std::int64_t i = 0; i < x.numel(); ++i) y.span<float>()[i] = x.span<float>()[(i + half) % x.numel()];
  return y;
}

}  // namespace

TEST_CASE("name maps: published names", "[models][import]") {
  const auto conv = [](const char* map, const char* ours, const char* net = "") {
    std::vector<std::string> names;
    for (const SourceNames& n : source_names(name_map(map), ours, net)) names.push_back(n.conv);
    return names;
  };
  using Names = std::vector<std::string>;
  CHECK(conv("tf", "backbone.block0.depthwise")[0] == "MobilenetV2/expanded_conv/depthwise");
  CHECK(conv("tf", "backbone.block16.project") == Names{"MobilenetV2/expanded_conv_16/project"});
  CHECK(conv("tf", "backbone.layer3.22.conv2", "101") ==
        Names{"resnet_v1_101/block3/unit_23/bottleneck_v1/conv2"});
  CHECK(conv("tf", "backbone.middle16.conv3.pointwise", "65") ==
        Names{"xception_65/middle_flow/block1/unit_16/xception_module/separable_conv3_pointwise"});
  CHECK(conv("tf", "head.aspp.rate2.depthwise") == Names{"aspp3_depthwise"});
  CHECK(conv("torchvision", "head.aspp.rate0") == Names{"classifier.0.convs.1.0"});
  CHECK(conv("torchvision", "backbone.block14.excite.fc2") == Names{"backbone.15.block.2.fc2"});
  CHECK(conv("caffe", "backbone.layer3.1.conv1") == Names{"res4b_branch2a", "res4b1_branch2a"});
  CHECK(conv("caffe", "backbone.layer3.0.downsample") == Names{"res4a_branch1"});
  CHECK(conv("caffe", "head.fc6_0") == Names{"fc6_1", "fc6"});
  CHECK(conv("kazuto1011", "backbone.layer4.2.conv3")[0] == "layer5.block3.increase.conv");
  CHECK(conv("vainf", "backbone.block3.project")[1] == "backbone.high_level_features.4.conv.2");
  CHECK(conv("torchvision", "head.nothing").empty());
  const SourceNames caffe = source_names(name_map("caffe"), "backbone.layer2.3.conv3", "101")[1];
  CHECK(caffe.norm == "bn3b3_branch2c");
  CHECK(caffe.scale == "scale3b3_branch2c");
  CHECK_THROWS_AS(name_map("keras"), ValueError);
}

TEST_CASE("import: TensorFlow's names and layout", "[models][import]") {
  const TemporaryFolder folder;
  Sample sample = mobile_sample();
  sample.file["global_step"] = Tensor::full({}, 30000, Dtype::i64);
  sample.file["aspp0/weights/Momentum"] = Tensor::zeros({3});
  const ImportedModel result = imported(folder, sample.file);
  INFO((result.report.problems.empty() ? std::string() : result.report.problems[0]));
  REQUIRE(result.model);
  CHECK(result.report.from == "tf");
  CHECK(result.model->config().convention == "tf");
  CHECK(result.model->config().classes == 5);
  CHECK(result.model->config().width == 0.25);
  CHECK(same(state_of(*result.model), state_of(*sample.model)));
}

TEST_CASE("import: weights that see a concatenation follow its order", "[models][import]") {
  // TensorFlow has image pooling first, we have it last.
  const Sample sample = mobile_sample(1);
  const ImportedModel result =
      import_model(TensorsFile(sample.file), {.model = "deeplab_v3_mobilenet_v2:atrous", .from = "tf"});
  for (const std::string& problem : result.report.problems) FAIL_CHECK(problem);
  REQUIRE(result.model);
  const char* projection = "head.aspp.project.weight";
  CHECK(identical(state_of(*result.model).at(projection),
                  swapped_halves(state_of(*sample.model).at(projection))));
  // VainF's decoder has low-level features first.
  const auto vainf = noisy("deeplab_v3plus_resnet18:vainf", {.classes = 3, .width = 0.125});
  const ImportedModel moved =
      import_model(TensorsFile(as_source(*vainf, name_map("vainf"), "18")),
                   {.model = "deeplab_v3plus_resnet18:vainf", .from = "vainf", .width = 0.125});
  REQUIRE(moved.model);
  CHECK(same(state_of(*moved.model), state_of(*vainf)));
}

TEST_CASE("import: every published model under the names and layout of its source", "[models][import]") {
  struct Published {
    const char *map, *model, *net;
  };
  for (const Published& row : {Published{"tf", "deeplab_v3_mobilenet_v2:tf", ""},
                               {"tf", "deeplab_v3plus_mobilenet_v2:tf", ""},
                               {"tf", "deeplab_v3_resnet50:tf", "50"},
                               {"tf", "deeplab_v3_resnet101_beta:tf", "101"},
                               {"tf", "deeplab_v3plus_resnet50_beta:tf", "50"},
                               {"tf", "deeplab_v3plus_xception41:tf", "41"},
                               {"tf", "deeplab_v3plus_xception65:tf", "65"},
                               {"tf", "deeplab_v3plus_xception71:tf", "71"},
                               {"torchvision", "deeplab_v3_resnet101:torchvision", "101"},
                               {"torchvision", "deeplabv3_mobilenet_v3_large:torchvision", ""},
                               {"torchvision", "lraspp_mobilenet_v3_large:torchvision", ""},
                               {"caffe", "deeplab_v1_vgg16:caffe", ""},
                               {"caffe", "deeplab_v1_7x7_vgg16:caffe", ""},
                               {"caffe", "deeplab_v2_vgg16:caffe", ""},
                               {"caffe", "deeplab_v2_resnet101_msc:caffe", "101"},
                               {"kazuto1011", "deeplab_v2_resnet101_msc:caffe", "101"},
                               {"vainf", "deeplab_v3_resnet50:vainf", "50"},
                               {"vainf", "deeplab_v3_mobilenet_v2:vainf", ""},
                               {"vainf", "deeplab_v3plus_resnet101:vainf", "101"},
                               {"vainf", "deeplab_v3plus_mobilenet_v2:vainf", ""}}) {
    INFO(row.model << " from " << row.map);
    const auto model = noisy(row.model, {.classes = 3, .width = 0.125});
    const Tensors file = as_source(*model, name_map(row.map), row.net);
    const ImportedModel result =
        import_model(TensorsFile(file), {.model = row.model, .from = row.map, .width = 0.125});
    for (const std::string& problem : result.report.problems) FAIL_CHECK(problem);
    REQUIRE(result.model);
    CHECK(result.model->config().classes == 3);
    CHECK(same(state_of(*result.model), state_of(*model)));
  }
}

TEST_CASE("import: TFLite's layout, batch norms folded", "[models][import]") {
  const TemporaryFolder folder;
  const auto model = noisy("deeplab_v3_mobilenet_v2:tf", {.classes = 5, .width = 0.25});
  // Identity batch norms, but for their beta.
  for (auto& p : model->named_parameters())
    if (p.name.ends_with(".bn.gamma")) p.variable.mutable_value().fill(1);
  for (const auto& b : model->named_buffers())
    if (b.kind == layers::BufferKind::statistic)
      b.tensor->fill(b.name.ends_with("mean") ? 0 : 1 - (b.name.starts_with("backbone") ? 1e-3 : 1e-5));
  const NameMap& map = name_map("tflite");
  Tensors file;
  for (const auto& [name, tensor] : as_source(*model, map)) {
    if (name.ends_with("/BatchNorm/beta"))
      file[without(name, "/BatchNorm/beta") + "/biases"] = tensor;
    else if (name.find("/BatchNorm/") == std::string::npos)
      file[name] = tensor;
  }
  const ImportedModel result = imported(folder, file, {.model = "deeplab_v3_mobilenet_v2", .from = "tflite"});
  INFO((result.report.problems.empty() ? std::string() : result.report.problems[0]));
  REQUIRE(result.model);
  CHECK(same(state_of(*result.model), state_of(*model)));
  bool said = false;
  for (const auto& note : result.report.notes) said |= note.find("54 convolutions") != std::string::npos;
  CHECK(said);
}

TEST_CASE("import: f64, f16 and bf16 become f32", "[models][import]") {
  const TemporaryFolder folder;
  Sample sample = mobile_sample();
  Tensor& bias = sample.file.at("logits/semantic/biases");
  const Tensor before = bias.clone();
  bias = before.to(Dtype::f64);
  CHECK(identical(state_of(*imported(folder, sample.file).model).at("head.logits.bias"), before));
  bias = before.to(Dtype::bf16);
  CHECK(identical(state_of(*imported(folder, sample.file).model).at("head.logits.bias"),
                  before.to(Dtype::bf16).to(Dtype::f32)));
}

TEST_CASE("import: another number of classes keeps the new logits, and says so", "[models][import]") {
  const TemporaryFolder folder;
  const Sample sample = mobile_sample();
  const ImportedModel result =
      imported(folder, sample.file, {.model = "deeplab_v3_mobilenet_v2", .classes = 3});
  REQUIRE(result.model);
  CHECK(result.model->config().classes == 3);
  const auto fresh = make("deeplab_v3_mobilenet_v2:tf", {.classes = 3, .width = 0.25});
  const Tensors got = state_of(*result.model);
  CHECK(identical(got.at("head.logits.weight"), state_of(*fresh).at("head.logits.weight")));
  CHECK(identical(got.at("backbone.stem.weight"), state_of(*sample.model).at("backbone.stem.weight")));
  bool said = false;
  for (const auto& note : result.report.notes) said |= note.starts_with("head.logits.weight keeps");
  CHECK(said);
}

TEST_CASE("import: what does not fit is told by name, and nothing is given", "[models][import]") {
  const TemporaryFolder folder;
  const Sample good = mobile_sample();
  const std::string gamma = "MobilenetV2/expanded_conv_3/expand/BatchNorm/gamma",
                    bias = "logits/semantic/biases";
  Tensors file = good.file;
  file.erase(gamma);
  check_problem(folder, file, "missing: \"backbone.block3.expand.bn.gamma\" [40], expected as \"" + gamma);
  file = good.file;
  file.erase(bias);
  check_problem(folder, file, "missing: \"head.logits.bias\"");
  file = good.file;
  file["aspp1/weights"] = Tensor::zeros({3, 3, 80, 256});
  check_problem(folder, file, "surplus: \"aspp1/weights\" [3, 3, 80, 256]");
  file = good.file;
  file[gamma] = Tensor::zeros({49});
  check_problem(folder, file, "wrong shape: \"backbone.block3.expand.bn.gamma\" wants [40]");
  file = good.file;
  file["aspp0/weights"] = Tensor::zeros({1, 1, 80, 255});
  check_problem(folder, file, "wrong shape: \"head.aspp.conv1x1.weight\" wants [1, 1, 80, 256]");
  file["aspp0/weights"] = Tensor::zeros({80 * 256});
  check_problem(folder, file, "wrong shape");
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    file = good.file;
    file[bias] = file[bias].clone();
    file[bias].span<float>()[3] = bad;
    check_problem(folder, file, "not finite: \"" + bias + "\"");
  }
  file = good.file;
  file[bias] = Tensor::full({5}, 1e300, Dtype::f64);  // more than f32 holds
  check_problem(folder, file, "not finite");
  file[bias] = Tensor::zeros({5}, Dtype::i32);
  check_problem(folder, file, "wrong type: \"head.logits.bias\" wants floats");
  file = good.file;
  file["image_pooling/BatchNorm/moving_variance"] = Tensor::full({256}, -1);
  check_problem(folder, file, "no variance");
  CHECK_THROWS_AS(imported(folder, {{"stray", Tensor::zeros({1})}}), IoError);
  CHECK_THROWS_AS(imported(folder, good.file, {.model = "deeplab_v3_mobilenet_v2", .from = "keras"}),
                  ValueError);
  CHECK_THROWS_AS(imported(folder, good.file, {.model = "deeplab_v9"}), ValueError);
  // Our own checkpoints need no import.
  save(*good.model, folder.file("ours"));
  CHECK_THROWS_AS(import_model(folder.file("ours"), {.model = "deeplab_v3_mobilenet_v2"}), IoError);
}

TEST_CASE("import: Google's published TFLite model computes its reference logits", "[models][import]") {
  const auto path = tests::test_data("weights/deeplabv3_257_mv_gpu.tflite");
  if (!path) return;
  const ImportedModel result = import_model(*path, {.model = "deeplab_v3_mobilenet_v2"});
  REQUIRE(result.model);
  CHECK(result.model->config().width == 0.5);
  CHECK(result.model->config().output_stride == 8);
  CHECK(result.model->parameter_count() == 697013);
  for (const char* name : {"coral_bird", "voc_2007_000129", "voc_2008_002536"}) {
    INFO(name);
    const auto base = tests::test_data(std::string("weights/reference_257/") + name + "_input.png");
    if (!base) return;
    const std::string stem = without(*base, "_input.png");
    const Tensor image = io::read_image(*base);
    const NoGrad no_grad;
    const Tensor logits = result.model->forward(Variable(prepare(*result.model, image))).value();
    const Tensor wanted = io::read_npy(stem + "_logits_lowres.npy");  // [21, 33, 33]
    REQUIRE(logits.shape() == Shape{1, 33, 33, 21});
    float worst = 0;
    for (std::int64_t c = 0; c < 21; ++c)
      for (std::int64_t i = 0; i < 33 * 33; ++i)
        worst = std::max(worst,
                         std::abs(wanted.span<float>()[c * 33 * 33 + i] - logits.span<float>()[i * 21 + c]));
    CHECK(worst < 1e-3f);
    const Tensor labels = segment(*result.model, image), truth = io::read_label_png(stem + "_argmax.png");
    std::int64_t differ = 0;
    for (std::int64_t i = 0; i < labels.numel(); ++i)
      differ += labels.span<std::uint8_t>()[i] != truth.span<std::uint8_t>()[i];
    CHECK(differ <= 2);
  }
}

}  // namespace atrous::models
