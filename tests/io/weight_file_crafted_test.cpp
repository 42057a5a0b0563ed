#include <algorithm>
#include <cstring>

#include "atrous/core/error.h"
#include "atrous/io/weight_file.h"
#include "tests/io/io_error.h"
#include "tests/io/weight_samples.h"

// Files of weights that lie: each is refused with one sentence that names it, before memory is taken on its
// word.

namespace atrous::tests {
namespace {

void read_all(const std::string& path) {
  const auto file = io::open_weight_file(path);
  for (std::size_t i = 0; i < file->tensors().size(); ++i) file->read(i);
}

bool has(const std::string& text, const std::string& part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

std::string refused_pickle(const TemporaryFolder& folder, const std::string& program,
                           std::size_t floats = 6) {
  return refused(folder, "a.pth", crafted_pth(program, floats), read_all);
}

std::string repeated(const std::string& piece, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += piece;
  return text;
}

void replace_number(Bytes& bytes, std::size_t at, std::uint32_t value) {
  std::memcpy(bytes.data() + at, &value, 4);
}

}  // namespace

TEST_CASE("crafted .pth: what is right is read", "[io][weights][crafted]") {
  const TemporaryFolder folder;
  const std::string path = folder.write("a.pth", crafted_pth(pickled_tensor("w", {2, 3}, {3, 1}, 0, 6), 6));
  const auto file = io::open_weight_file(path);
  CHECK(file->read(0).shape() == Shape{2, 3});
  CraftedZip wide;  // sizes and offsets in zip64 fields
  wide.add("a/data.pkl", pickle(pickled_tensor("w", {2, 3}, {3, 1}, 0, 6)), {.zip64 = true});
  wide.add("a/data/0", Bytes(24), {.zip64 = true});
  CHECK(io::open_weight_file(folder.write("b.pth", wide.encode()))->read(0).shape() == Shape{2, 3});
}

TEST_CASE("crafted .pth: a pickle cannot call anything", "[io][weights][crafted]") {
  const TemporaryFolder folder;
  CHECK(has(refused_pickle(folder, "cos\nsystem\n(X\x04\x00\x00\x00trueOtR"), "pickle"));
  CHECK(has(refused_pickle(folder, "cos\nsystem\nX\x04" + std::string(3, '\0') + "true\x85R"),
            "\"os.system\""));
  CHECK(has(refused_pickle(folder, "cposix\nsystem\n)R"), "\"posix.system\""));
  CHECK(has(refused_pickle(folder, "cbuiltins\neval\n"), "\"builtins.eval\""));
  CHECK(has(refused_pickle(folder, "ctorch._utils\n_rebuild_tensor_v3\n"), "_rebuild_tensor_v3"));
  CHECK(has(refused_pickle(folder, "c__builtin__\ngetattr\n"), "getattr"));
  // INST, OBJ, NEWOBJ, EXT1, STACK_GLOBAL, PERSID: ways to a function that the subset leaves out.
  for (const char* opcode : {"(ios\nsystem\n", "(o", ")\x81", "\x82\x01", "\x93", "Pos\n"})
    CHECK(has(refused_pickle(folder, opcode), "none of those that tensors need"));
  CHECK(has(refused_pickle(folder, "})R"), "called that cannot be"));
  CHECK(has(refused_pickle(folder, "ctorch\nFloatStorage\n)R"), "storage is called"));
}

TEST_CASE("crafted .pth: bombs are refused in little memory", "[io][weights][crafted]") {
  const TemporaryFolder folder;
  CHECK(has(refused_pickle(folder, repeated("(", 3'000'000)), "more than twice the file's memory"));
  CHECK(has(refused_pickle(folder, repeated("]", 2'000'000)), "more than twice the file's memory"));
  CHECK(has(refused_pickle(folder, repeated("N", 3'000'000)), "more than twice the file's memory"));
  // Lists of themselves, a thousand levels deep, double the memory a level if anything copies them.
  CHECK(has(refused_pickle(folder, "]q" + std::string(1, '\0') +
                                       repeated("(h" + std::string(1, '\0') + "h" + std::string(1, '\0') +
                                                    "lq" + std::string(1, '\0'),
                                                1000)),
            "pickle"));
  std::string doubling = "]q" + std::string(1, '\0');
  for (int i = 0; i < 200; ++i)
    doubling += "](h" + std::string(1, char(i)) + "h" + std::string(1, char(i)) + "eq" +
                std::string(1, char(i + 1)) + "0";
  CHECK(has(refused_pickle(folder, doubling), "pickle"));
  // A memo of ten million numbers for one remembered value.
  std::string memo = "N";
  for (std::uint32_t i = 0; i < 300'000; ++i) {
    memo += 'r';
    memo.append(reinterpret_cast<const char*>(&i), 4);
  }
  CHECK(has(refused_pickle(folder, memo), "more than twice the file's memory"));
}

TEST_CASE("crafted .pth: tensors stay in their storage", "[io][weights][crafted]") {
  const TemporaryFolder folder;
  constexpr std::int64_t k63 = INT64_MAX;
  CHECK(has(refused_pickle(folder, pickled_tensor("w", {2, 3}, {3, 1}, 1, 6)), "reaches to element 6"));
  CHECK(has(refused_pickle(folder, pickled_tensor("w", {2, 3}, {4, 1}, 0, 6)), "reaches to element 6"));
  CHECK(has(refused_pickle(folder, pickled_tensor("w", {2, 3}, {3, 1}, 0, 7)), "wants a storage of 7"));
  CHECK(has(refused_pickle(folder, pickled_tensor("w", {k63}, {1}, 0, 6)), "2^63"));
  CHECK(has(refused_pickle(folder, pickled_tensor("w", {k63 / 4}, {1}, 0, 6)), "cut off or damaged"));
  CHECK(has(refused_pickle(folder, pickled_tensor("w", {k63, k63}, {0, 0}, 0, 6)), "2^63"));
  CHECK(has(refused_pickle(folder, pickled_tensor("w", {1 << 18}, {0}, 0, 6)), "storage of 6"));
  CHECK(has(refused_pickle(folder, pickled_tensor("w", {2, 2}, {k63, 1}, 1, 6)), "2^63 elements"));
  CHECK(has(refused_pickle(folder, pickled_tensor("w", {-2, 3}, {3, 1}, 0, 6)), "not made of sizes"));
  CHECK(has(refused_pickle(folder, pickled_tensor("w", {2, 3}, {3, -1}, 3, 6)), "not made of sizes"));
  CHECK(has(refused_pickle(folder, pickled_tensor("w", {2, 3}, {3, 1}, -1, 6)), "before its storage"));
  CHECK(has(refused_pickle(folder, pickled_tensor("w", {2, 3}, {3, 1}, 0, k63)), "wants a storage"));
  CHECK(has(refused_pickle(
                folder, pickled_tensor("w", {1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1}, 0, 6)),
            "9 axes"));
  CHECK(has(refused_pickle(folder, pickled_tensor(std::string(1025, 'n'), {1}, {1}, 0, 6)), "1025 bytes"));
}

TEST_CASE("crafted .pth: damaged pickles", "[io][weights][crafted]") {
  const TemporaryFolder folder;
  const std::string good = pickled_tensor("w", {2, 3}, {3, 1}, 0, 6);
  CHECK(has(refused_pickle(folder, ""), "more than one value"));
  CHECK(has(refused_pickle(folder, "}"), "no dict of tensors"));
  CHECK(has(refused_pickle(folder, "]"), "no dict of tensors"));
  CHECK(has(refused_pickle(folder, "NN"), "more than one value"));
  CHECK(has(refused_pickle(folder, "h\x07"), "nothing was remembered as 7"));
  CHECK(has(refused_pickle(folder, "t"), "a mark is missing"));
  CHECK(has(refused_pickle(folder, "}Ns"), "a value is missing"));
  CHECK(has(refused_pickle(folder, "]NNs"), "added to something"));
  CHECK(has(refused_pickle(folder, "}(Nu"), "a key without a value"));
  CHECK(has(refused_pickle(folder, "X\xff\xff\xff\x7f"), "cut off"));
  CHECK(has(refused_pickle(folder, std::string("\x8a\xff", 2)), "number of 255 bytes"));
  CHECK(has(refused_pickle(folder, "NQ"), "five parts"));
  for (std::size_t cut = 0; cut + 1 < good.size(); cut += 3) refused_pickle(folder, good.substr(0, cut));
}

TEST_CASE("crafted zip archives", "[io][weights][crafted]") {
  const TemporaryFolder folder;
  const Bytes program = pickle(pickled_tensor("w", {2, 3}, {3, 1}, 0, 6));
  const auto refusal = [&](const auto& fill) {
    CraftedZip zip;
    fill(zip);
    return refused(folder, "a.pth", zip.encode(), read_all);
  };
  CHECK(has(refusal([&](CraftedZip& z) { z.add("a/data.pkl", program, {.method = 8}); }),
            "compressed (method 8)"));
  CHECK(has(refusal([&](CraftedZip& z) { z.add("a/data.pkl", program, {.flags = 1}); }), "encrypted"));
  CHECK(
      has(refusal([&](CraftedZip& z) { z.add("a/data.pkl", program, {.wrong_crc = true}); }), "has changed"));
  CHECK(has(refusal([&](CraftedZip& z) { z.add("a/other", program); }), "no data.pkl"));
  CHECK(has(refusal([&](CraftedZip& z) {
              z.add("a/data.pkl", program);
              z.add("a/code/module.py", Bytes(9), {.method = 8});
              z.add("a/constants.pkl", Bytes(4));
            }),
            "TorchScript"));
  CHECK(has(refusal([&](CraftedZip& z) { z.add("a/data.pkl", program); }), "not there"));
  CHECK(has(refusal([&](CraftedZip& z) {
              z.add("a/data.pkl", program);
              z.add("a/data.pkl", program);
            }),
            "twice"));
  CHECK(has(refusal([&](CraftedZip& z) {
              z.add("a/data.pkl", program);
              z.add("b/data.pkl", program);
            }),
            "two pickles"));
  CHECK(has(refusal([&](CraftedZip& z) {
              z.add("a/data.pkl", program);
              z.add("a/data/0", Bytes(24), {.wrong_crc = true});
            }),
            "has changed"));
  CHECK(has(refusal([&](CraftedZip& z) {
              z.add("a/data.pkl", program);
              z.add("a/data/0", Bytes(20));
            }),
            "wants a storage of 6"));
  CHECK(has(refusal([&](CraftedZip& z) {
              z.add("a/data.pkl", program);
              z.add("a/byteorder", Bytes{'b', 'i', 'g'});
              z.add("a/data/0", Bytes(24));
            }),
            "big-endian"));
  const Bytes good = crafted_pth(pickled_tensor("w", {2, 3}, {3, 1}, 0, 6), 6);
  for (std::size_t size = 16; size < good.size(); size += 5)
    refused(folder, "a.pth", truncated(good, size), read_all);
  // Counts and offsets of the last record.
  for (const std::uint32_t value : {0x7fffffffu, 0xfffffffeu, 0xffffffffu}) {
    for (const std::size_t from_end : {6u, 10u}) {
      Bytes bytes = good;
      replace_number(bytes, bytes.size() - from_end, value);
      refused(folder, "a.pth", bytes, read_all);
    }
  }
}

TEST_CASE("crafted TFLite files", "[io][weights][crafted]") {
  const TemporaryFolder folder;
  const Bytes good = file_bytes(weight_sample("small.tflite"));
  for (std::size_t size = 16; size < good.size(); size += 7)
    refused(folder, "a.tflite", truncated(good, size), read_all);
  Bytes root = good;
  replace_number(root, 0, 0x7fffffff);
  CHECK(has(refused(folder, "a.tflite", root, read_all), "cut off or damaged"));
  // [2, 1, 1, 3] of the first weight: its sizes are 32 bits, and their product 2^63 at most 2^62 elements.
  Bytes shape = good;
  const std::uint32_t sizes[] = {2, 1, 1, 3};
  const auto at = std::search(shape.begin(), shape.end(), reinterpret_cast<const std::uint8_t*>(sizes),
                              reinterpret_cast<const std::uint8_t*>(sizes + 4));
  REQUIRE(at != shape.end());
  const auto offset = std::size_t(at - shape.begin());
  for (std::size_t i = 0; i < 4; ++i) replace_number(shape, offset + 4 * i, 0x7fffffff);
  CHECK(has(refused(folder, "a.tflite", shape, read_all), "2^63"));
  for (std::size_t i = 0; i < 4; ++i) replace_number(shape, offset + 4 * i, i < 1 ? 0x7fffffff : 1);
  CHECK(has(refused(folder, "a.tflite", shape, read_all), "cut off or damaged"));
  replace_number(shape, offset, 0xffffffff);
  CHECK(has(refused(folder, "a.tflite", shape, read_all), "negative"));
  replace_number(shape, offset, 3);
  replace_number(shape, offset + 4, 1);
  CHECK(has(refused(folder, "a.tflite", shape, read_all), "its shape and type want"));
}

TEST_CASE("crafted TensorFlow indexes", "[io][weights][crafted]") {
  const TemporaryFolder folder;
  const Bytes good = file_bytes(weight_sample("tensorflow.ckpt.index"));
  for (std::size_t size = 16; size < good.size(); size += 11)
    refused(folder, "a.index", truncated(good, size),
            [](const std::string& path) { io::open_weight_file(path); });
  // Every byte but the padding of the footer is covered by a sum or a check.
  int found = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    Bytes bytes = good;
    bytes[i] ^= 0x55;
    const std::string path = folder.write("a.index", bytes);
    try {
      io::open_weight_file(path);
    } catch (const IoError& error) {
      ++found;
      CHECK(has(error.what(), path));
    }
  }
  CHECK(found > int(good.size()) - 48);
  CHECK(has(refused(folder, "a.other", good, read_all), "not called"));
}

TEST_CASE("crafted Caffe files", "[io][weights][crafted]") {
  const TemporaryFolder folder;
  for (const char* name : {"caffe.caffemodel", "caffe_v1.caffemodel"}) {
    const Bytes good = file_bytes(weight_sample(name));
    // A cut between two layers leaves a file of fewer layers, which is a good one.
    int refusals = 0;
    for (std::size_t size = 16; size < good.size(); ++size) {
      try {
        read_all(folder.write("a", truncated(good, size)));
      } catch (const IoError&) {
        ++refusals;
      }
    }
    CHECK(refusals >= int(good.size()) - 16 - 3);
  }
  // layer { blobs { shape { dim: 2^63 - 1 } } }, the same of two axes, and -1.
  const Bytes huge = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
              minus = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
  const std::pair<std::vector<Bytes>, const char*> cases[] = {
      {{huge}, "2^63"}, {{huge, huge}, "2^63"}, {{minus}, "negative"}};
  for (const auto& [dims, what] : cases) {
    Bytes shape;
    for (const Bytes& dim : dims) {
      shape.push_back(0x08);
      shape.insert(shape.end(), dim.begin(), dim.end());
    }
    const auto in = [](std::vector<std::uint8_t> key, const Bytes& content) {
      key.push_back(std::uint8_t(content.size()));
      key.insert(key.end(), content.begin(), content.end());
      return key;
    };
    const Bytes name = {0x0a, 0x0f, 'n', 'e', 't', ' ', 'o', 'f', ' ',
                        's',  'i',  'x', 't', 'e', 'e', 'n', '.'};
    Bytes net = name;
    const Bytes layer = in({0xa2, 0x06}, in({0x3a}, in({0x3a}, shape)));
    net.insert(net.end(), layer.begin(), layer.end());
    CHECK(has(refused(folder, "a", net, read_all), what));
  }
}

TEST_CASE("weight files: what is none", "[io][weights][crafted]") {
  const TemporaryFolder folder;
  CHECK(has(refused(folder, "a", Bytes(5), read_all), "5 bytes"));
  CHECK(has(refused(folder, "a", Bytes(100, 0xee), read_all), "is neither safetensors"));
  CHECK_THROWS_AS(read_all(folder.file("missing")), IoError);
  CHECK_THROWS_AS(read_all(folder.path()), IoError);
}

}  // namespace atrous::tests
