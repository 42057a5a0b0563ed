#include "atrous/io/pth.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "atrous/io/pickle.h"
#include "atrous/io/safetensors_header.h"
#include "atrous/io/zip.h"

namespace atrous::io {
namespace {

constexpr std::string_view kPickle = "/data.pkl";

/// Row-major without gaps, but for axes of size 1, whose stride does not matter.
bool is_dense(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& stride) {
  std::int64_t expected = 1;
  for (std::size_t i = shape.size(); i > 0; --i) {
    if (shape[i - 1] != 1 && stride[i - 1] != expected) return false;
    expected *= shape[i - 1];
  }
  return true;
}

template <class T>
void gather(const std::uint8_t* from, const std::vector<std::int64_t>& stride, Tensor& to) {
  const Shape& shape = to.shape();
  auto* out = static_cast<T*>(to.data());
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    std::int64_t rest = i, at = 0;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      at += rest % shape[axis] * stride[std::size_t(axis)];
      rest /= shape[axis];
    }
    std::memcpy(out + i, from + at * std::int64_t(sizeof(T)), sizeof(T));
  }
}

class PthFile : public WeightFile {
 public:
  PthFile(const std::string& path, std::int64_t bytes)
      : WeightFile(path, "PyTorch", bytes), file_(path, kOp) {
    entries_ = read_zip_directory(file_);
    const ZipEntry& pickle = find_pickle();
    if (pickle.size > kMaxHeaderBytes)
      fail("its pickle has ", pickle.size, " bytes; at most ", kMaxHeaderBytes, " are read");
    check_zip_entry(file_, pickle);
    std::vector<std::uint8_t> program(static_cast<std::size_t>(pickle.size));
    file_.read(pickle.offset, program.data(), pickle.size);
    PickledState state = read_pickled_state(file_, program, pickle.offset, bytes + (1 << 20));
    for (PickledTensor& tensor : state.tensors) add_tensor(std::move(tensor));
    for (std::string& name : state.skipped) skip(printable(name) + " is no tensor");
  }

  Tensor read(std::size_t index) const override {
    const Place& place = places_.at(index);
    const StoredTensor& tensor = tensors()[index];
    const ZipEntry& entry = entries_[place.entry];
    if (checked_.insert(place.entry).second) check_zip_entry(file_, entry);
    const std::int64_t size = element_bytes(tensor.type), begin = entry.offset + place.offset * size;
    if (place.stride.empty() || tensor.shape.numel() == 0)
      return read_elements(file_, begin, tensor.type, tensor.shape);
    std::int64_t reach = 1;
    for (int axis = 0; axis < tensor.shape.rank(); ++axis)
      reach += (tensor.shape[axis] - 1) * place.stride[std::size_t(axis)];
    const Tensor whole = read_elements(file_, begin, tensor.type, Shape{reach});
    Tensor result = Tensor::empty(tensor.shape, whole.dtype());
    const auto* from = static_cast<const std::uint8_t*>(whole.data());
    visit_dtype(result.dtype(), [&]<class T>() { gather<T>(from, place.stride, result); });
    return result;
  }

 private:
  struct Place {
    std::size_t entry;
    std::int64_t offset;               // elements
    std::vector<std::int64_t> stride;  // empty if dense
  };

  const ZipEntry& find_pickle() {
    const ZipEntry* pickle = nullptr;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const std::string& name = entries_[i].name;
      charge(std::int64_t(sizeof(std::pair<std::string, std::size_t>) + name.size()));
      by_entry_.emplace(name, i);
      if (name.ends_with("/constants.pkl"))
        fail(
            "is a TorchScript archive, a program; save the state dict instead "
            "(torch.save(model.state_dict(), ...))");
      if (!name.ends_with(kPickle)) continue;
      if (pickle) fail("has two pickles, ", printable(pickle->name), " and ", printable(name));
      pickle = &entries_[i];
    }
    if (!pickle) fail("is a zip file, but not PyTorch's: it has no data.pkl");
    prefix_ = pickle->name.substr(0, pickle->name.size() - kPickle.size());
    const auto order = by_entry_.find(prefix_ + "/byteorder");
    if (order != by_entry_.end()) {
      char first = 0;
      if (entries_[order->second].size > 0) file_.read(entries_[order->second].offset, &first, 1);
      if (first != 'l') fail("its numbers are big-endian; little-endian ones are read");
    }
    return *pickle;
  }

  void add_tensor(PickledTensor tensor) {
    const std::string shown = printable(tensor.name);
    const auto found = by_entry_.find(prefix_ + "/data/" + tensor.storage);
    if (found == by_entry_.end()) fail("tensor ", shown, " has its storage in an entry that is not there");
    const ZipEntry& entry = entries_[found->second];
    const std::int64_t size = element_bytes(tensor.type);
    if (tensor.storage_size > entry.size / size)
      fail("tensor ", shown, " wants a storage of ", tensor.storage_size, " elements of ", size,
           " bytes; its entry ", printable(entry.name), " has ", entry.size, " bytes");
    const std::int64_t bytes = add(tensor.name, tensor.type, tensor.shape);
    if (bytes > 0) {
      std::int64_t last = tensor.offset;  // the farthest element
      for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
        std::int64_t reach = 0;
        if (__builtin_mul_overflow(tensor.shape[axis] - 1, tensor.stride[axis], &reach) ||
            __builtin_add_overflow(last, reach, &last))
          fail("tensor ", shown, " reaches beyond 2^63 elements");
      }
      if (last >= tensor.storage_size || bytes / size > tensor.storage_size)
        fail("tensor ", shown, " reaches to element ", last, " of a storage of ", tensor.storage_size);
    }
    if (bytes == 0 || is_dense(tensor.shape, tensor.stride)) tensor.stride.clear();
    charge(std::int64_t(sizeof(Place) + tensor.stride.size() * sizeof(std::int64_t)));
    places_.push_back({found->second, bytes == 0 ? 0 : tensor.offset, std::move(tensor.stride)});
  }

  FileReader file_;
  std::vector<ZipEntry> entries_;
  std::map<std::string, std::size_t> by_entry_;
  std::string prefix_;
  std::vector<Place> places_;
  mutable std::set<std::size_t> checked_;
};

}  // namespace

std::unique_ptr<WeightFile> open_pth(const std::string& path) {
  const std::int64_t bytes = FileReader(path, "read_weights").size();
  return std::make_unique<PthFile>(path, bytes);
}

}  // namespace atrous::io
