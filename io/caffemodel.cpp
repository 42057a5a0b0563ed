#include "atrous/io/caffemodel.h"

#include <cstring>

#include "atrous/io/protobuf.h"
#include "atrous/io/safetensors_header.h"

namespace atrous::io {
namespace {

// Field numbers of caffe.proto.
namespace net {
enum { kName = 1, kV1Layers = 2, kLayer = 100 };
}
namespace v1_layer {
enum { kName = 4, kBlobs = 6 };
}
namespace layer {
enum { kName = 1, kBlobs = 7 };
}
namespace blob {
enum { kNum = 1, kWidth = 4, kData = 5, kShape = 7, kDoubleData = 8 };
}
constexpr int kShapeDim = 1;

class CaffemodelFile : public WeightFile {
 public:
  CaffemodelFile(const std::string& path, std::vector<std::uint8_t> bytes)
      : WeightFile(path, "Caffe", std::int64_t(bytes.size())), file_(path, kOp), bytes_(std::move(bytes)) {
    ProtoReader net(file_, bytes_, 0);
    while (net.next()) {
      if (net.field() == net::kLayer) read_layer(net.message(), layer::kName, layer::kBlobs);
      if (net.field() == net::kV1Layers) read_layer(net.message(), v1_layer::kName, v1_layer::kBlobs);
    }
    if (tensors().empty()) fail("has no blobs: it is no .caffemodel, or one without weights");
  }

  Tensor read(std::size_t index) const override {
    const StoredTensor& tensor = tensors().at(index);
    const Place& place = places_[index];
    const Span<const std::uint8_t> all = bytes_;
    ProtoReader blob(file_, all.part(place.begin, place.bytes), place.begin);
    Tensor result = Tensor::empty(tensor.shape, dtype_of_element(tensor.type));
    auto* to = static_cast<std::uint8_t*>(result.data());
    while (blob.next()) {  // packed: all in one field; otherwise a field for each
      if (blob.field() != data_field(tensor.type) || blob.bytes().empty()) continue;
      std::memcpy(to, blob.bytes().data(), std::size_t(blob.bytes().size()));
      to += blob.bytes().size();
    }
    return result;
  }

 private:
  struct Place {
    std::int64_t begin, bytes;  // of the blob's message
  };

  static int data_field(ElementType type) {
    return type == ElementType::f64 ? blob::kDoubleData : blob::kData;
  }

  void read_layer(ProtoReader layer, int name_field, int blobs_field) {
    std::string name;
    std::vector<Place> blobs;
    while (layer.next()) {
      if (layer.field() == name_field) {
        if (layer.text().size() > kMaxNameBytes)
          fail("a layer's name has ", layer.text().size(), " bytes; at most ", kMaxNameBytes, " are read");
        name = layer.text();
      }
      if (layer.field() != blobs_field) continue;
      layer.message();  // it is one
      charge(sizeof(Place));
      blobs.push_back({layer.bytes_at(), layer.bytes().size()});
    }
    for (std::size_t i = 0; i < blobs.size(); ++i) read_blob(name + "/" + std::to_string(i), blobs[i]);
  }

  void read_blob(const std::string& name, const Place& place) {
    const Span<const std::uint8_t> all = bytes_;
    ProtoReader blob(file_, all.part(place.begin, place.bytes), place.begin);
    std::vector<std::int64_t> shape, old = {1, 1, 1, 1};
    std::int64_t floats = 0, doubles = 0;
    bool has_shape = false, has_old = false;
    while (blob.next()) {
      const int field = blob.field();
      if (field >= blob::kNum && field <= blob::kWidth) {
        old[std::size_t(field - blob::kNum)] = blob.size();
        has_old = true;
      } else if (field == blob::kShape) {
        has_shape = true;
        read_shape(blob.message(), name, shape);
      } else if (field == blob::kData || field == blob::kDoubleData) {
        const std::int64_t element = field == blob::kData ? 4 : 8;
        const bool packed = blob.wire() == ProtoReader::kBytes;
        if (!packed && blob.bytes().size() != element)
          fail("blob ", printable(name), " has a number of ", blob.bytes().size(), " bytes at byte ",
               blob.bytes_at());
        if (blob.bytes().size() % element != 0)
          fail("blob ", printable(name), " has ", blob.bytes().size(), " bytes at byte ", blob.bytes_at(),
               ", no multiple of ", element);
        (field == blob::kData ? floats : doubles) += blob.bytes().size();
      }
    }
    if (floats > 0 && doubles > 0)
      fail("blob ", printable(name), " has numbers of single and of double precision");
    if (!has_shape && !has_old) shape = {(floats + doubles) / (doubles ? 8 : 4)};
    const ElementType type = doubles > 0 ? ElementType::f64 : ElementType::f32;
    const std::int64_t bytes = add(name, type, has_shape || !has_old ? shape : old);
    if (bytes != floats + doubles)
      fail("blob ", printable(name), " at byte ", place.begin, " has ", floats + doubles,
           " bytes of numbers; its shape wants ", bytes);
    charge(sizeof(Place));
    places_.push_back(place);
  }

  void read_shape(ProtoReader message, const std::string& name, std::vector<std::int64_t>& shape) const {
    const auto push = [&](std::uint64_t size) {
      if (shape.size() == std::size_t(Shape::kMaxRank))
        fail("blob ", printable(name), " has more than ", Shape::kMaxRank, " axes");
      shape.push_back(std::int64_t(size));  // beyond 63 bits it is negative, which add() refuses
    };
    while (message.next()) {
      if (message.field() != kShapeDim) continue;
      if (message.wire() != ProtoReader::kBytes) {
        push(message.number());
        continue;
      }
      for (Span<const std::uint8_t> rest = message.bytes(); !rest.empty();) push(message.varint(rest));
    }
  }

  FileReader file_;
  std::vector<std::uint8_t> bytes_;
  std::vector<Place> places_;
};

}  // namespace

bool is_caffemodel(Span<const std::uint8_t> head) {
  // The net's name, a layer of the first generation, or one of the second.
  return head.size() >= 2 && (head[0] == 0x0a || head[0] == 0x12 || (head[0] == 0xa2 && head[1] == 0x06));
}

std::unique_ptr<WeightFile> open_caffemodel(const std::string& path) {
  return std::make_unique<CaffemodelFile>(path, read_bytes(path, "read_weights"));
}

}  // namespace atrous::io
