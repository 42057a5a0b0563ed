#include "atrous/io/npy.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <vector>

#include "atrous/core/error.h"
#include "atrous/io/file.h"

namespace atrous::io {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian and are read as they are");

constexpr char kMagic[] = "\x93NUMPY";
constexpr std::int64_t kMaxNpyHeader = 64 << 10;

struct NpyType {
  const char* descr;
  Dtype dtype;
};
constexpr NpyType kTypes[] = {
    {"<f4", Dtype::f32}, {"<f8", Dtype::f64}, {"|u1", Dtype::u8}, {"<i4", Dtype::i32}, {"<i8", Dtype::i64}};

struct NpyHeader {
  Dtype dtype = Dtype::f32;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

/// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } and blanks: three keys, each once, in any
/// order.
class NpyHeaderParser {
 public:
  NpyHeaderParser(const std::string& text, const FileReader& file) : rest_(text), file_(file) {}

  NpyHeader run() {
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!take('}')) {
      const std::string_view key = text();
      expect(':');
      bool& seen = key == "descr" ? descr : key == "fortran_order" ? order : shape;
      check(key == "descr" || key == "fortran_order" || key == "shape", "an unknown key");
      check(!seen, "a key twice");
      seen = true;
      if (key == "descr")
        read_descr();
      else if (key == "fortran_order")
        header_.fortran_order = truth();
      else
        read_shape();
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_blanks();
    check(rest_.empty(), "something behind the dictionary");
    check(descr && order && shape, "no descr, fortran_order or shape");
    return header_;
  }

 private:
  void check(bool condition, const char* what) const {
    if (!condition) file_.fail("its header has ", what);
  }
  void skip_blanks() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n\t\r"), rest_.size())); }
  bool take(char c) {
    skip_blanks();
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!take(c)) file_.fail("its header lacks a ", c, " where one is wanted");
  }
  std::string_view text() {
    skip_blanks();
    check(!rest_.empty() && (rest_.front() == '\'' || rest_.front() == '"'),
          "something else where a text is wanted");
    const std::size_t end = rest_.find(rest_.front(), 1);
    check(end != std::string_view::npos, "a text without end");
    const std::string_view found = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return found;
  }
  bool truth() {
    skip_blanks();
    for (const std::string_view word : {"True", "False"})
      if (rest_.substr(0, word.size()) == word) {
        rest_.remove_prefix(word.size());
        return word == "True";
      }
    check(false, "a fortran_order that is neither True nor False");
    return false;
  }
  void read_descr() {
    skip_blanks();
    check(rest_.empty() || (rest_.front() != '[' && rest_.front() != '('),
          "elements that are structures; plain numbers are read");
    const std::string_view descr = text();
    const auto type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const NpyType& t) {
      return descr == t.descr || (t.dtype == Dtype::u8 && descr == "<u1");
    });
    if (type == std::end(kTypes)) {
      std::string shown(descr.substr(0, 20));
      for (char& c : shown)
        if (c < ' ' || c > '~') c = '?';
      file_.fail("its elements are \"", shown, "\"",
                 shown.starts_with('>')          ? " (big-endian)"
                 : shown.find('O') != shown.npos ? " (Python objects)"
                                                 : "",
                 "; <f4, <f8, |u1, <i4 and <i8 are read");
    }
    header_.dtype = type->dtype;
  }
  void read_shape() {
    expect('(');
    while (!take(')')) {
      skip_blanks();
      std::int64_t size = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
      check(error == std::errc() && size >= 0, "a size that is no whole number below 2^63");
      rest_.remove_prefix(std::size_t(end - rest_.data()));
      header_.shape.push_back(size);
      check(header_.shape.size() <= Shape::kMaxRank, "more than 8 axes");
      if (!take(',')) {
        check(header_.shape.size() > 1, "a shape of one number without a comma");
        expect(')');
        break;
      }
    }
  }

  std::string_view rest_;
  const FileReader& file_;
  NpyHeader header_;
};

/// The header; leaves the file at the first element.
NpyHeader read_header(FileReader& file) {
  std::array<std::uint8_t, 8> start{};
  if (file.size() < 10) file.fail("has ", file.size(), " bytes, too few for a .npy file");
  file.next(start.data(), 8);
  if (std::memcmp(start.data(), kMagic, 6) != 0) file.fail("is not a .npy file");
  const int version = start[6];
  if (version < 1 || version > 3 || start[7] != 0)
    file.fail("has .npy version ", version, ".", int(start[7]), "; 1.0, 2.0 and 3.0 are read");
  std::uint32_t length = 0;
  file.next(&length, version == 1 ? 2 : 4);
  if (length > kMaxNpyHeader)
    file.fail("its header has ", length, " bytes; at most ", kMaxNpyHeader, " are read");
  if (std::int64_t(length) > file.size() - file.position())
    file.fail("the file is cut off: it has ", file.size(), " bytes, its header alone ends at ",
              file.position() + length);
  std::string text(length, ' ');
  file.next(text.data(), length);
  return NpyHeaderParser(text, file).run();
}

/// Copies elements whose first axis runs fastest to where the last one does.
void reorder(const std::vector<std::uint8_t>& from, Tensor& to) {
  const auto size = std::size_t(dtype_size(to.dtype()));
  const Shape& shape = to.shape();
  std::array<std::int64_t, Shape::kMaxRank> strides{}, place{};
  std::int64_t stride = 1, source = 0;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    strides[std::size_t(axis)] = stride;
    stride *= shape[axis];
  }
  auto* out = static_cast<std::uint8_t*>(to.data());
  for (std::int64_t i = 0; i < shape.numel(); ++i, out += size) {
    std::memcpy(out, from.data() + std::size_t(source) * size, size);
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {  // the next place in row-major order
      const auto a = std::size_t(axis);
      source += strides[a];
      if (++place[a] < shape[axis]) break;
      source -= strides[a] * place[a];
      place[a] = 0;
    }
  }
}

}  // namespace

Tensor read_npy(const std::string& path) {
  FileReader file(path, "read_npy");
  const NpyHeader header = read_header(file);
  std::int64_t bytes = dtype_size(header.dtype);
  bool fits = true, empty = false;
  for (const std::int64_t size : header.shape) {
    empty |= size == 0;
    fits &= size == 0 || !__builtin_mul_overflow(bytes, size, &bytes);
  }
  if (!fits) file.fail("its shape has more than 2^63 bytes");
  if (empty) bytes = 0;
  const std::int64_t has = file.size() - file.position();
  if (bytes != has)
    file.fail("the file has ", has, " bytes behind its header; its shape and element type want ", bytes);

  Tensor tensor = Tensor::empty(Shape(header.shape), header.dtype);
  if (header.fortran_order && header.shape.size() > 1) {
    std::vector<std::uint8_t> stored(static_cast<std::size_t>(bytes));
    file.next(stored.data(), bytes);
    reorder(stored, tensor);
  } else {
    file.next(tensor.data(), bytes);
  }
  return tensor;
}

void write_npy(const std::string& path, const Tensor& tensor) {
  const std::string_view op = "write_npy";
  ATROUS_CHECK(IoError, tensor.defined(), op, path, ": the tensor is undefined");
  const auto type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                 [&](const NpyType& t) { return t.dtype == tensor.dtype(); });
  ATROUS_CHECK(DtypeError, type != std::end(kTypes), op, path, ": NumPy has no ", tensor.dtype());
  std::string sizes;
  for (const std::int64_t size : tensor.shape()) sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
  if (tensor.rank() == 1) sizes += ",";
  std::string header =
      std::string("{'descr': '") + type->descr + "', 'fortran_order': False, 'shape': (" + sizes + "), }";
  // Blanks and a line feed, up to a multiple of 64 bytes with the 10 before it: elements are aligned when the
  // file is mapped.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  const std::uint8_t start[10] = {
      0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, std::uint8_t(header.size()), std::uint8_t(header.size() >> 8)};
  FileWriter file(path, op);
  file.write(start, 10);
  file.write(header.data(), std::int64_t(header.size()));
  file.write(tensor.data(), tensor.bytes());
  file.commit();
}

}  // namespace atrous::io
