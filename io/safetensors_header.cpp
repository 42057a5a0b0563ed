#include "atrous/io/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "atrous/core/shape.h"

namespace atrous::io {
namespace {

struct NamedType {
  const char* name;
  ElementType type;
};
// The names that the format gives to the types.
constexpr NamedType kTypes[] = {{"F32", ElementType::f32}, {"F64", ElementType::f64},
                                {"F16", ElementType::f16}, {"BF16", ElementType::bf16},
                                {"U8", ElementType::u8},   {"I32", ElementType::i32},
                                {"I64", ElementType::i64}};

const char* stored_name(ElementType type) {
  return std::find_if(std::begin(kTypes), std::end(kTypes),
                      [&](const NamedType& t) { return t.type == type; })
      ->name;
}

/// Receives the header piece by piece as nlohmann's parser reads it (its SAX interface). No tree is built, so
/// a header cannot ask for much memory, and it is refused at its first wrong piece: nesting never passes the
/// third level.
class HeaderParser {
 public:
  using Json = nlohmann::json;

  HeaderParser(const FileReader& file, SafetensorsHeader& header) : file_(file), header_(header) {}

  bool start_object(std::size_t) {
    if (place_ == Place::start)
      place_ = Place::names;
    else if (place_ == Place::names && name_ == kMetadataKey)
      place_ = Place::metadata;
    else if (place_ == Place::names)
      begin_tensor();
    else
      unexpected("an object");
    return true;
  }

  bool end_object() {
    if (place_ == Place::tensor) end_tensor();
    place_ = place_ == Place::names ? Place::end : Place::names;
    return true;
  }

  bool key(std::string& text) {
    if (place_ == Place::names) {
      check(text.size() <= kMaxNameBytes, "a tensor's name has ", text.size(), " bytes; at most ",
            kMaxNameBytes, " are read: ", printable(text));
      check(seen_.insert(text).second, "the name ", printable(text), " occurs twice");
    } else if (place_ == Place::metadata) {
      check(header_.metadata.emplace(text, "").second, "the metadata ", printable(text), " occur twice");
    } else {
      const int field = text == "dtype"          ? kDtype
                        : text == "shape"        ? kShape
                        : text == "data_offsets" ? kOffsets
                                                 : 0;
      check(field != 0, "tensor ", printable(name_), " has a field ", printable(text), " that is not known");
      check((fields_ & field) == 0, "tensor ", printable(name_), " has its ", text, " twice");
      fields_ |= field;
      field_ = field;
      return true;
    }
    name_ = text;
    return true;
  }

  bool string(std::string& text) {
    if (place_ == Place::metadata) {
      header_.metadata[name_] = text;
    } else if (place_ == Place::tensor && field_ == kDtype) {
      const auto type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                     [&](const NamedType& t) { return text == t.name; });
      check(type != std::end(kTypes), "tensor ", printable(name_), " has dtype ", printable(text),
            "; F32, F64, F16, BF16, U8, I32 and I64 are read");
      header_.entries.back().type = type->type;
    } else {
      unexpected("a text");
    }
    return true;
  }

  bool start_array(std::size_t) {
    if (place_ != Place::tensor || field_ == kDtype) unexpected("an array");
    place_ = Place::numbers;
    return true;
  }

  bool end_array() {
    place_ = Place::tensor;
    return true;
  }

  bool number_unsigned(std::uint64_t value) {
    if (place_ != Place::numbers) unexpected("a number");
    check(value <= std::uint64_t(INT64_MAX), "tensor ", printable(name_), " has the number ", value,
          ", which is beyond 63 bits");
    std::vector<std::int64_t>& numbers = field_ == kShape ? header_.entries.back().shape : offsets_;
    const std::size_t most = field_ == kShape ? std::size_t(Shape::kMaxRank) : 2;
    check(numbers.size() < most, "tensor ", printable(name_), " has more than ", most, " numbers in its ",
          field_ == kShape ? "shape" : "data_offsets");
    numbers.push_back(std::int64_t(value));
    return true;
  }

  bool number_integer(std::int64_t value) {
    check(false, "tensor ", printable(name_), " has a negative number, ", value);
    return false;
  }
  bool number_float(double, const std::string& text) {
    check(false, "tensor ", printable(name_), " has ", printable(text),
          " where a whole number below 2^63 is wanted");
    return false;
  }
  bool null() { return unexpected("null"); }
  bool boolean(bool) { return unexpected("true or false"); }
  bool binary(Json::binary_t&) { return unexpected("binary data"); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) {
    file_.fail("its header is not JSON in UTF-8, at byte ", position, " of the header");
  }

 private:
  enum class Place { start, names, metadata, tensor, numbers, end };
  static constexpr int kDtype = 1, kShape = 2, kOffsets = 4;

  template <class... Pieces>
  void check(bool condition, const Pieces&... pieces) const {
    if (!condition) file_.fail(pieces...);
  }
  bool unexpected(const char* what) const {
    file_.fail("its header has ", what, " in the wrong place, at ", printable(name_));
  }

  void begin_tensor() {
    check(header_.entries.size() < kMaxTensors, "it has more than ", kMaxTensors, " tensors");
    place_ = Place::tensor;
    fields_ = field_ = 0;
    offsets_.clear();
    header_.entries.push_back({.name = name_, .shape = {}});
  }

  void end_tensor() {
    check(fields_ == (kDtype | kShape | kOffsets), "tensor ", printable(name_),
          " lacks one of dtype, shape and data_offsets");
    check(offsets_.size() == 2, "tensor ", printable(name_), " has ", offsets_.size(),
          " data_offsets, not 2");
    TensorEntry& entry = header_.entries.back();
    entry.begin = offsets_[0];
    entry.end = offsets_[1];
    check(entry.begin <= entry.end, "tensor ", printable(name_), " begins at byte ", entry.begin,
          " and ends at ", entry.end);
    const auto bytes = array_bytes(entry.shape, element_bytes(entry.type));
    check(bytes.has_value(), "tensor ", printable(name_), " has a shape of more than 2^63 bytes");
    check(entry.end - entry.begin == *bytes, "tensor ", printable(name_), " has ", entry.end - entry.begin,
          " bytes; its shape and dtype want ", *bytes);
  }

  const FileReader& file_;
  SafetensorsHeader& header_;
  Place place_ = Place::start;
  std::string name_;
  std::set<std::string> seen_;
  int fields_ = 0, field_ = 0;
  std::vector<std::int64_t> offsets_;
};

/// Tensors lie one behind the other, from the end of the header to the end of the file.
void check_ranges(const FileReader& file, SafetensorsHeader& header) {
  std::sort(header.entries.begin(), header.entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::int64_t end = 0;
  for (const TensorEntry& entry : header.entries) {
    if (entry.begin != end)
      file.fail("tensor ", printable(entry.name), " begins at byte ", entry.begin,
                ", but the one before it ends at ", end,
                entry.begin < end ? ": they overlap" : ": there is a hole");
    end = entry.end;
  }
  const std::int64_t has = file.size() - header.data_at;
  if (end > has)  // the sum may pass 2^63
    file.fail("the file is cut off: it has ", file.size(), " bytes, its header speaks of ",
              std::uint64_t(header.data_at) + std::uint64_t(end));
  if (end < has)
    file.fail("the file has ", file.size(), " bytes, ", has - end, " more than the ", header.data_at + end,
              " that its header speaks of");
}

}  // namespace

SafetensorsHeader read_safetensors_header(const FileReader& file) {
  if (file.size() < 8)
    file.fail("has ", file.size(), " bytes; a safetensors file begins with a length of 8 bytes");
  std::uint64_t length = 0;
  file.read(0, &length, 8);
  if (length > std::uint64_t(file.size() - 8))
    file.fail("is not a safetensors file, or cut off: it has ", file.size(),
              " bytes, its first 8 say that the header alone has ", length);
  if (length > std::uint64_t(kMaxHeaderBytes))
    file.fail("its header has ", length, " bytes; at most ", kMaxHeaderBytes, " are read");
  std::string text(length, ' ');
  file.read(8, text.data(), std::int64_t(length));
  if (text.empty() || text.front() != '{') file.fail("its header does not begin with {");
  // The parser takes a NUL for the end of the text and would not look behind it.
  if (text.find('\0') != std::string::npos) file.fail("its header has a NUL byte in it");

  SafetensorsHeader header;
  header.data_at = 8 + std::int64_t(length);
  HeaderParser parser(file, header);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &parser)) file.fail("its header cannot be read");
  check_ranges(file, header);
  return header;
}

std::string safetensors_header_text(const std::vector<TensorEntry>& entries,
                                    const std::map<std::string, std::string>& metadata) {
  const auto json_text = [](const std::string& text) { return nlohmann::json(text).dump(); };
  std::string out = "{", separator;
  if (!metadata.empty()) {
    out += json_text(kMetadataKey) + ":{";
    for (const auto& [key, value] : metadata) {
      out += separator + json_text(key) + ":" + json_text(value);
      separator = ",";
    }
    out += "}";
  }
  for (const TensorEntry& entry : entries) {
    std::string sizes;
    for (const std::int64_t size : entry.shape) sizes += (sizes.empty() ? "" : ",") + std::to_string(size);
    out += separator + json_text(entry.name) + ":{\"dtype\":\"" + stored_name(entry.type) + "\",\"shape\":[" +
           sizes + "],\"data_offsets\":[" + std::to_string(entry.begin) + "," + std::to_string(entry.end) +
           "]}";
    separator = ",";
  }
  out += "}";
  out.append((8 - out.size() % 8) % 8, ' ');
  return out;
}

std::string printable(std::string_view name) {
  constexpr std::size_t kShown = 80;
  std::string out = "\"";
  for (const char c : name.substr(0, kShown)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      constexpr const char* kHex = "0123456789abcdef";
      out += "\\x";
      out += kHex[(c >> 4) & 15];
      out += kHex[c & 15];
    } else {
      out += c;
    }
  }
  return out + (name.size() > kShown ? "...\"" : "\"");
}

}  // namespace atrous::io
