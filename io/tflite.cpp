#include "atrous/io/tflite.h"

#include "atrous/io/flatbuffer.h"
#include "atrous/io/safetensors_header.h"

namespace atrous::io {
namespace {

// Fields of the schema's tables, in its order.
namespace model {
enum { kVersion, kOperatorCodes, kSubgraphs, kDescription, kBuffers };
}
namespace subgraph {
enum { kTensors, kInputs, kOutputs, kOperators };
}
namespace tensor {
enum { kShape, kType, kBuffer, kName };
}
namespace operation {
enum { kOpcode, kInputs, kOutputs };
}
namespace opcode {
enum { kOldCode, kCustom, kVersion, kCode };
}
namespace buffer {
enum { kData };
}
constexpr int kConv2d = 3, kDepthwiseConv2d = 4;
constexpr const char* kTypeNames[] = {"FLOAT32", "FLOAT16", "INT32",     "UINT8", "INT64",  "STRING",
                                      "BOOL",    "INT16",   "COMPLEX64", "INT8",  "FLOAT64"};

std::optional<ElementType> element_type(int type) {
  switch (type) {
    case 0:
      return ElementType::f32;
    case 1:
      return ElementType::f16;
    case 2:
      return ElementType::i32;
    case 4:
      return ElementType::i64;
    case 10:
      return ElementType::f64;
    default:
      return std::nullopt;
  }
}

class TfliteFile : public WeightFile {
 public:
  TfliteFile(const std::string& path, std::vector<std::uint8_t> bytes)
      : WeightFile(path, "TFLite", std::int64_t(bytes.size())), bytes_(std::move(bytes)) {
    const FileReader file(path, kOp);
    const FlatBuffer flat{file, bytes_};
    const FlatTable root(flat, flat.follow(0));
    const auto version = root.number<std::uint32_t>(model::kVersion);
    if (version != 3) fail("is TFLite of version ", version, "; version 3 is read");
    const FlatVector graphs = root.vector(model::kSubgraphs, 4);
    if (graphs.count != 1) fail("has ", graphs.count, " graphs; models of one are read");
    const FlatTable graph = root.table(graphs, 0);
    read_tensors(flat, root, graph);
    read_operators(flat, root, graph);
    for (const Constant& c : constants_)
      if (c.begin && !c.name.empty()) list(c);
  }

  Tensor read(std::size_t index) const override {
    const StoredTensor& tensor = tensors().at(index);
    const Span<const std::uint8_t> all = bytes_;
    return read_elements(all.part(begins_[index], all.size() - begins_[index]), tensor.type, tensor.shape);
  }

 private:
  struct Constant {
    std::string name;
    int type = 0;
    std::vector<std::int64_t> shape;
    std::int64_t begin = 0, bytes = 0;  // 0 for what is computed when the graph runs
    bool weight = false;                // of a convolution, or its bias
  };

  void read_tensors(const FlatBuffer& flat, const FlatTable& root, const FlatTable& graph) {
    const FlatVector tensors = graph.vector(subgraph::kTensors, 4), buffers = root.vector(model::kBuffers, 4);
    if (tensors.count > std::int64_t(kMaxTensors))
      fail("has ", tensors.count, " tensors; at most ", kMaxTensors, " are read");
    for (std::int64_t i = 0; i < tensors.count; ++i) {
      const FlatTable t = graph.table(tensors, i);
      const std::string_view name = t.text(tensor::kName);
      if (name.size() > kMaxNameBytes)
        fail("a tensor's name has ", name.size(), " bytes; at most ", kMaxNameBytes, " are read");
      Constant c{.name = std::string(name), .type = t.number<std::int8_t>(tensor::kType), .shape = {}};
      const FlatVector shape = t.vector(tensor::kShape, 4);
      if (shape.count > Shape::kMaxRank)
        fail("tensor ", printable(name), " has ", shape.count, " axes; at most ", Shape::kMaxRank,
             " are read");
      for (std::int64_t k = 0; k < shape.count; ++k)
        c.shape.push_back(flat.number<std::int32_t>(shape.begin + 4 * k));
      const std::int64_t index = t.number<std::uint32_t>(tensor::kBuffer);
      if (index >= buffers.count)
        fail("tensor ", printable(name), " is in buffer ", index, " of ", buffers.count);
      const FlatVector data = root.table(buffers, index).vector(buffer::kData, 1);
      if (data.count > 0) {
        c.begin = data.begin;
        c.bytes = data.count;
      }
      charge(std::int64_t(sizeof(Constant) + name.size() + 8 * c.shape.size()));
      constants_.push_back(std::move(c));
    }
    const FlatVector inputs = graph.vector(subgraph::kInputs, 4);
    if (inputs.count > 0) note_size("input", constant(flat.number<std::int32_t>(inputs.begin)));
  }

  Constant& constant(std::int64_t index) {
    if (index < 0 || index >= std::int64_t(constants_.size()))
      fail("an operator speaks of tensor ", index, " of ", constants_.size());
    return constants_[std::size_t(index)];
  }

  // [N, H, W, C] as "HxW".
  void note_size(const std::string& key, const Constant& map) {
    if (map.shape.size() == 4)
      metadata_[key] = std::to_string(map.shape[1]) + "x" + std::to_string(map.shape[2]);
  }

  void read_operators(const FlatBuffer& flat, const FlatTable& root, const FlatTable& graph) {
    const FlatVector codes = root.vector(model::kOperatorCodes, 4),
                     operators = graph.vector(subgraph::kOperators, 4);
    for (std::int64_t i = 0; i < operators.count; ++i) {
      const FlatTable op = graph.table(operators, i);
      const std::int64_t index = op.number<std::uint32_t>(operation::kOpcode);
      if (index >= codes.count) fail("operator ", i, " has code ", index, " of ", codes.count);
      const FlatTable code = root.table(codes, index);
      // Codes above 127 have a field of their own; ours are below.
      const int kind = code.number<std::int8_t>(opcode::kOldCode);
      if (kind != kConv2d && kind != kDepthwiseConv2d) continue;
      const FlatVector inputs = op.vector(operation::kInputs, 4), outputs = op.vector(operation::kOutputs, 4);
      if (inputs.count < 2 || outputs.count < 1)
        fail("operator ", i, ", a convolution, has ", inputs.count, " inputs and ", outputs.count,
             " outputs");
      Constant& weight = constant(flat.number<std::int32_t>(inputs.begin + 4));
      weight.weight = true;
      charge(std::int64_t(4 * weight.name.size() + 64));
      note_size(weight.name, constant(flat.number<std::int32_t>(outputs.begin)));
      const std::int64_t bias = inputs.count > 2 ? flat.number<std::int32_t>(inputs.begin + 8) : -1;
      if (bias < 0) continue;
      Constant& b = constant(bias);
      b.name = weight.name.substr(0, weight.name.rfind('/') + 1) + "biases";
      b.weight = true;
    }
  }

  void list(const Constant& c) {
    const auto type = element_type(c.type);
    if (!type) {
      const char* name = c.type >= 0 && c.type < int(std::size(kTypeNames)) ? kTypeNames[c.type] : "unknown";
      if (c.weight)
        fail("is quantised: its weight ", printable(c.name), " is of type ", name, "; float models are read");
      return skip(printable(c.name) + " is of type " + name);
    }
    const std::int64_t bytes = add(c.name, *type, c.shape);
    if (bytes != c.bytes)
      fail("tensor ", printable(c.name), " has ", c.bytes, " bytes at byte ", c.begin,
           "; its shape and type want ", bytes);
    begins_.push_back(c.begin);
  }

  std::vector<std::uint8_t> bytes_;
  std::vector<Constant> constants_;
  std::vector<std::int64_t> begins_;
};

}  // namespace

std::unique_ptr<WeightFile> open_tflite(const std::string& path) {
  return std::make_unique<TfliteFile>(path, read_bytes(path, "read_weights"));
}

}  // namespace atrous::io
