#include "atrous/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "atrous/core/error.h"
#include "atrous/io/safetensors_header.h"

namespace atrous::io {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian and are read as they are");

/// IEEE 754 binary16: a sign, 5 bits of exponent, 10 of mantissa. Every value is a float as well.
float half_to_float(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const std::uint32_t sign = std::uint32_t(bits & 0x8000) << 16;
  if (exponent == 0) return (sign ? -1.f : 1.f) * std::ldexp(float(mantissa), -24);  // zero and subnormal
  const std::uint32_t wide = exponent == 31 ? 255 : std::uint32_t(exponent - 15 + 127);
  return std::bit_cast<float>(sign | wide << 23 | std::uint32_t(mantissa) << 13);
}

void read_halves(const FileReader& file, std::int64_t offset, Span<float> to) {
  std::vector<std::uint16_t> halves(static_cast<std::size_t>(std::min<std::int64_t>(to.size(), 1 << 16)));
  for (std::int64_t i = 0; i < to.size(); i += std::int64_t(halves.size())) {
    const std::int64_t count = std::min(std::int64_t(halves.size()), to.size() - i);
    file.read(offset + 2 * i, halves.data(), 2 * count);
    std::transform(halves.begin(), halves.begin() + count, to.begin() + i, half_to_float);
  }
}

/// The bytes' order: wider elements first, by name among equals.
std::vector<TensorEntry> lay_out(const std::map<std::string, Tensor>& tensors) {
  std::vector<TensorEntry> entries;
  for (const auto& [name, tensor] : tensors)
    entries.push_back({.name = name,
                       .dtype = tensor.dtype(),
                       .shape = std::vector<std::int64_t>(tensor.shape().begin(), tensor.shape().end())});
  std::stable_sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return dtype_size(a.dtype) > dtype_size(b.dtype);
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
    Tensor tensor = Tensor::empty(Shape(entry.shape), entry.dtype);
    if (entry.half)
      read_halves(file, header.data_at + entry.begin, tensor.span<float>());
    else
      file.read(header.data_at + entry.begin, tensor.data(), tensor.bytes());
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
