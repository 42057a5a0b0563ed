#include "atrous/io/tf_checkpoint.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "atrous/io/crc32c.h"
#include "atrous/io/protobuf.h"
#include "atrous/io/safetensors_header.h"

namespace atrous::io {
namespace {

constexpr std::uint64_t kMagic = 0xdb4775248b80fb57ull;
constexpr std::int64_t kFooterBytes = 48, kTrailerBytes = 5;  // of a block: compression, CRC-32C
constexpr std::string_view kSuffix = ".index";
constexpr std::int64_t kMaxShards = 10000;

// Field numbers of tensor_bundle.proto and tensor_shape.proto.
namespace header {
enum { kShards = 1, kEndianness = 2 };
}
namespace entry {
enum { kType = 1, kShape = 2, kShard = 3, kOffset = 4, kSize = 5, kCrc = 6, kSlices = 7 };
}
constexpr int kShapeDim = 2, kDimSize = 1;

/// Sums are stored turned, so that a sum over data with sums in it stays a good one.
std::uint32_t unmasked(std::uint32_t masked) {
  const std::uint32_t turned = masked - 0xa282ead8u;
  return turned >> 17 | turned << 15;
}

std::optional<ElementType> element_type(std::int64_t type) {  // DataType of types.proto
  switch (type) {
    case 1:
      return ElementType::f32;
    case 2:
      return ElementType::f64;
    case 3:
      return ElementType::i32;
    case 4:
      return ElementType::u8;
    case 9:
      return ElementType::i64;
    case 14:
      return ElementType::bf16;
    case 19:
      return ElementType::f16;
    default:
      return std::nullopt;
  }
}

struct BlockHandle {
  std::int64_t offset = 0, size = 0;
};

class TfCheckpointFile : public WeightFile {
 public:
  TfCheckpointFile(const std::string& path, std::int64_t bytes)
      : WeightFile(path, "TensorFlow", bytes),
        index_(path, kOp),
        prefix_(path.substr(0, path.size() - kSuffix.size())) {
    if (index_.size() > kMaxHeaderBytes)
      fail("has ", index_.size(), " bytes; an index of at most ", kMaxHeaderBytes, " is read");
    bytes_.resize(std::size_t(index_.size()));
    index_.read(0, bytes_.data(), index_.size());
    // The footer: handles of two blocks, of which the second lists the blocks of entries.
    const std::int64_t footer = index_.size() - kFooterBytes;
    if (footer < 0) fail("is cut off: an index has at least ", kFooterBytes, " bytes");
    ProtoReader numbers(index_, span().part(footer, kFooterBytes), footer);
    Span<const std::uint8_t> rest = span().part(footer, kFooterBytes - 8);
    read_handle(numbers, rest);  // of the meta index, which is empty
    const BlockHandle list = read_handle(numbers, rest);
    std::int64_t end = 0;
    each_entry(list, [&](const std::string&, Span<const std::uint8_t> value) {
      const BlockHandle block = read_handle(numbers, value);
      if (block.offset < end) fail("is damaged: its blocks at byte ", block.offset, " overlap");
      end = block.offset + block.size;
      each_entry(block, [&](const std::string& name, Span<const std::uint8_t> v) { read_entry(name, v); });
    });
    if (shards_ == 0) fail("is an index without a header");
    bytes_ = {};
  }

  Tensor read(std::size_t index) const override {
    const StoredTensor& tensor = tensors().at(index);
    const Place& place = places_[index];
    char suffix[32];
    std::snprintf(suffix, sizeof suffix, ".data-%05d-of-%05d", int(place.shard), int(shards_));
    const FileReader shard(prefix_ + suffix, kOp);
    const std::int64_t bytes = tensor.shape.numel() * element_bytes(tensor.type);
    if (place.offset > shard.size() || bytes > shard.size() - place.offset)
      shard.fail("is cut off: tensor ", printable(tensor.name), " of ", bytes, " bytes begins at byte ",
                 place.offset, ", the file has ", shard.size());
    std::vector<std::uint8_t> raw(static_cast<std::size_t>(bytes));
    shard.read(place.offset, raw.data(), bytes);
    if (crc32c(raw) != place.crc)
      shard.fail("tensor ", printable(tensor.name), " at byte ", place.offset,
                 " has changed: the sum of its bytes is wrong");
    return read_elements(raw, tensor.type, tensor.shape);
  }

 private:
  struct Place {
    std::int64_t shard, offset;
    std::uint32_t crc;
  };

  Span<const std::uint8_t> span() const { return bytes_; }

  BlockHandle read_handle(const ProtoReader& numbers, Span<const std::uint8_t>& rest) const {
    const std::uint64_t offset = numbers.varint(rest), size = numbers.varint(rest);
    const auto all = std::uint64_t(index_.size() - kTrailerBytes);
    if (offset > all || size > all - offset)
      fail("is damaged: it speaks of a block of ", size, " bytes at byte ", offset, "; the file has ",
           index_.size());
    return {std::int64_t(offset), std::int64_t(size)};
  }

  /// Calls `f(key, value)` for each entry of a block. A key shares its beginning with the one before it.
  template <class F>
  void each_entry(const BlockHandle& block, const F& f) {
    const Span<const std::uint8_t> sealed = span().part(block.offset, block.size + 1);
    std::uint32_t masked = 0, restarts = 0;
    std::memcpy(&masked, bytes_.data() + block.offset + block.size + 1, 4);
    if (unmasked(masked) != crc32c(sealed))
      fail("its block at byte ", block.offset, " has changed: the sum of its bytes is wrong");
    if (sealed[block.size] != 0)
      fail("its block at byte ", block.offset, " is compressed (", int(sealed[block.size]),
           "); TensorFlow writes checkpoints uncompressed");
    if (block.size < 4) fail("its block at byte ", block.offset, " is cut off");
    std::memcpy(&restarts, bytes_.data() + block.offset + block.size - 4, 4);
    const std::int64_t size = block.size - 4 - 4 * std::int64_t(restarts);
    if (size < 0)
      fail("its block at byte ", block.offset, " has ", restarts, " restarts in ", block.size, " bytes");
    const ProtoReader numbers(index_, sealed, block.offset);
    std::string key;
    for (Span<const std::uint8_t> rest = sealed.part(0, size); !rest.empty();) {
      const std::uint64_t shared = numbers.varint(rest), added = numbers.varint(rest),
                          value = numbers.varint(rest);
      const auto left = std::uint64_t(rest.size());
      if (shared > key.size() || added > left || value > left - added)
        fail("its block at byte ", block.offset, " has an entry that does not fit, ", rest.size(),
             " bytes before its end");
      if (shared + added > kMaxNameBytes)
        fail("a tensor's name has ", shared + added, " bytes; at most ", kMaxNameBytes, " are read");
      key.resize(std::size_t(shared));
      key.append(reinterpret_cast<const char*>(rest.data()), std::size_t(added));
      f(key, rest.part(std::int64_t(added), std::int64_t(value)));
      rest = rest.part(std::int64_t(added + value), rest.size() - std::int64_t(added + value));
    }
  }

  void read_entry(const std::string& name, Span<const std::uint8_t> value) {
    ProtoReader message(index_, value, value.data() - bytes_.data());
    if (name.empty()) return read_header(message);
    if (shards_ == 0) fail("is an index whose first entry is no header");
    std::int64_t type = 0, shard = 0, offset = 0, size = 0;
    std::uint32_t crc = 0;
    std::vector<std::int64_t> shape;
    while (message.next()) {
      switch (message.field()) {
        case entry::kType:
          type = message.size();
          break;
        case entry::kShape:
          read_shape(message.message(), name, shape);
          break;
        case entry::kShard:
          shard = message.size();
          break;
        case entry::kOffset:
          offset = message.size();
          break;
        case entry::kSize:
          size = message.size();
          break;
        case entry::kCrc:
          crc = std::uint32_t(message.number());
          break;
        case entry::kSlices:
          fail("tensor ", printable(name), " was saved in slices; save it whole");
        default:
          break;
      }
    }
    if (shard >= shards_) fail("tensor ", printable(name), " is in shard ", shard, " of ", shards_);
    const auto known = element_type(type);
    if (!known) return skip(printable(name) + " is of TensorFlow's type " + std::to_string(type));
    const std::int64_t bytes = add(name, *known, shape);
    if (bytes != size)
      fail("tensor ", printable(name), " has ", size, " bytes; its shape and type want ", bytes);
    charge(sizeof(Place));
    places_.push_back({shard, offset, unmasked(crc)});
  }

  void read_header(ProtoReader message) {
    shards_ = 1;
    while (message.next()) {
      if (message.field() == header::kShards) shards_ = message.size();
      if (message.field() == header::kEndianness && message.number() != 0)
        fail("its numbers are big-endian; little-endian ones are read");
    }
    if (shards_ < 1 || shards_ > kMaxShards) fail("has ", shards_, " shards; 1 to ", kMaxShards, " are read");
  }

  void read_shape(ProtoReader message, const std::string& name, std::vector<std::int64_t>& shape) const {
    while (message.next()) {
      if (message.field() != kShapeDim) continue;
      if (shape.size() == std::size_t(Shape::kMaxRank))
        fail("tensor ", printable(name), " has more than ", Shape::kMaxRank, " axes");
      std::int64_t size = 0;
      for (ProtoReader dim = message.message(); dim.next();)
        if (dim.field() == kDimSize) size = std::int64_t(dim.number());  // add() refuses negative ones
      shape.push_back(size);
    }
  }

  FileReader index_;
  std::string prefix_;
  std::vector<std::uint8_t> bytes_;
  std::int64_t shards_ = 0;
  std::vector<Place> places_;
};

}  // namespace

bool is_tf_index(const std::array<std::uint8_t, 8>& tail) {
  std::uint64_t magic = 0;
  std::memcpy(&magic, tail.data(), 8);
  return magic == kMagic;
}

std::unique_ptr<WeightFile> open_tf_checkpoint(const std::string& index_path) {
  const FileReader index(index_path, "read_weights");
  if (!index_path.ends_with(kSuffix))
    index.fail("is the index of a TensorFlow checkpoint, but is not called ...", kSuffix,
               ": its shards cannot be found");
  std::array<std::uint8_t, 8> tail{};
  if (index.size() < kFooterBytes) index.fail("is cut off: an index has at least ", kFooterBytes, " bytes");
  index.read(index.size() - 8, tail.data(), 8);
  if (!is_tf_index(tail)) index.fail("is no index of a TensorFlow checkpoint, or cut off");
  // All shards count for what the elements may take; those that are missing are told when they are read.
  std::int64_t bytes = index.size();
  const std::string prefix = index_path.substr(0, index_path.size() - kSuffix.size());
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path folder = fs::path(prefix).parent_path();
  if (folder.empty()) folder = ".";
  for (const auto& found : fs::directory_iterator(folder, error)) {
    const std::string name = found.path().filename().string();
    if (!name.starts_with(fs::path(prefix).filename().string() + ".data-")) continue;
    const std::uintmax_t size = fs::file_size(found.path(), error);
    if (!error) bytes += std::int64_t(size);
  }
  return std::make_unique<TfCheckpointFile>(index_path, bytes);
}

}  // namespace atrous::io
