#include "atrous/io/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "atrous/core/error.h"
#include "atrous/io/safetensors_header.h"

namespace atrous::io {
namespace {

ElementType stored_type(Dtype dtype) {
  switch (dtype) {
    case Dtype::f32:
      return ElementType::f32;
    case Dtype::f64:
      return ElementType::f64;
    case Dtype::bf16:
      return ElementType::bf16;
    case Dtype::u8:
      return ElementType::u8;
    case Dtype::i32:
      return ElementType::i32;
    case Dtype::i64:
      return ElementType::i64;
  }
  fail<DtypeError>("write_safetensors", "unknown element type ", int(dtype));
}

/// The bytes' order: wider elements first, by name among equals.
std::vector<TensorEntry> lay_out(const std::map<std::string, Tensor>& tensors) {
  std::vector<TensorEntry> entries;
  for (const auto& [name, tensor] : tensors)
    entries.push_back({.name = name,
                       .type = stored_type(tensor.dtype()),
                       .shape = std::vector<std::int64_t>(tensor.shape().begin(), tensor.shape().end())});
  std::stable_sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return element_bytes(a.type) > element_bytes(b.type);
  });
  std::int64_t at = 0;
  for (TensorEntry& entry : entries) {
    entry.begin = at;
    entry.end = at += tensors.at(entry.name).bytes();
  }
  return entries;
}

}  // namespace

SafeTensors read_safetensors(const std::string& path) {
  const FileReader file(path, "read_safetensors");
  SafetensorsHeader header = read_safetensors_header(file);
  SafeTensors result;
  result.metadata = std::move(header.metadata);
  for (TensorEntry& entry : header.entries) {
    Tensor tensor = read_elements(file, header.data_at + entry.begin, entry.type, Shape(entry.shape));
    result.tensors.emplace(std::move(entry.name), std::move(tensor));
  }
  return result;
}

void write_safetensors(const std::string& path, const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string_view op = "write_safetensors";
  ATROUS_CHECK(IoError, tensors.size() <= kMaxTensors, op, path, ": ", tensors.size(), " tensors; at most ",
               kMaxTensors, " are written");
  for (const auto& [name, tensor] : tensors) {
    ATROUS_CHECK(IoError, name != kMetadataKey && name.size() <= kMaxNameBytes, op, path,
                 ": a tensor cannot be called ", printable(name));
    ATROUS_CHECK(IoError, tensor.defined(), op, path, ": tensor ", printable(name), " is undefined");
  }
  const std::vector<TensorEntry> entries = lay_out(tensors);
  std::string header;
  try {
    header = safetensors_header_text(entries, metadata);
  } catch (const nlohmann::json::exception&) {
    fail<IoError>(op, path, ": a name or a text of the metadata is not UTF-8");
  }
  ATROUS_CHECK(IoError, std::int64_t(header.size()) <= kMaxHeaderBytes, op, path, ": a header of ",
               header.size(), " bytes; at most ", kMaxHeaderBytes, " are written");
  FileWriter file(path, op);
  const std::uint64_t length = header.size();
  file.write(&length, 8);
  file.write(header.data(), std::int64_t(header.size()));
  for (const TensorEntry& entry : entries) {
    const Tensor& tensor = tensors.at(entry.name);
    file.write(tensor.data(), tensor.bytes());
  }
  file.sync();
  file.commit();
}

}  // namespace atrous::io
