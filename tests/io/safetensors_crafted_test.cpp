// Safetensors files that somebody made to break the reader. Each is refused with one sentence that names it,
// and takes no more memory than twice its size and a MiB.

#include "atrous/io/safetensors.h"
#include "tests/io/io_error.h"
#include "tests/io/safetensors_bytes.h"

namespace atrous::tests {
namespace {

std::string refused_safetensors(const std::string& name, const Bytes& bytes) {
  const TemporaryFolder folder;
  return refused(folder, name, bytes, [](const std::string& path) { io::read_safetensors(path); });
}

/// A header of one tensor of 4 bytes with its fields replaced.
std::string entry(const std::string& shape, const std::string& offsets, const std::string& dtype = "\"U8\"") {
  return "{\"a\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
}

/// Tensors a and b of U8 with these ranges; each as long as its range.
std::string two(int a0, int a1, int b0, int b1) {
  const auto part = [](const char* name, int begin, int end) {
    return std::string("\"") + name + "\":{\"dtype\":\"U8\",\"shape\":[" + std::to_string(end - begin) +
           "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  return "{" + part("a", a0, a1) + "," + part("b", b0, b1) + "}";
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("read_safetensors: the files that the crafted ones differ from are read",
          "[io][safetensors][crafted]") {
  const TemporaryFolder folder;
  for (const Bytes& bytes :
       {safetensors_bytes(entry("[4]", "[0,4]"), 4), safetensors_bytes(two(0, 4, 4, 8), 8),
        safetensors_bytes(two(4, 8, 0, 4), 8), safetensors_bytes(entry("[4]", "[0,4]") + "    ", 4),
        safetensors_bytes(entry("[0,9223372036854775807]", "[0,0]"), 0), safetensors_bytes("{}", 0),
        safetensors_bytes(R"({"__metadata__":{"a":"b"}})", 0)})
    CHECK_NOTHROW(io::read_safetensors(folder.write("good", bytes)));
}

TEST_CASE("read_safetensors: header lengths that lie", "[io][safetensors][crafted]") {
  const std::string header = entry("[4]", "[0,4]");
  refused_safetensors("empty", {});
  refused_safetensors("short", Bytes(7));
  refused_safetensors("zero", safetensors_bytes(0, header, 4));
  refused_safetensors("one", safetensors_bytes(1, header, 4));
  refused_safetensors("seven", safetensors_bytes(7, header, 4));
  for (const std::uint64_t length :
       {std::uint64_t(header.size() + 5), std::uint64_t(1000), std::uint64_t(1) << 31, std::uint64_t(1) << 63,
        ~std::uint64_t(0), std::uint64_t(INT64_MAX)})
    CHECK(mentions(refused_safetensors("beyond", safetensors_bytes(length, header, 4)),
                   std::to_string(length)));
  refused_safetensors("only_length", safetensors_bytes(8, "", 0));
}

TEST_CASE("read_safetensors: a truncated file is told with both sizes", "[io][safetensors][crafted]") {
  const std::string header = entry("[400]", "[0,400]");
  const Bytes whole = safetensors_bytes(header, 400);
  const std::string text = refused_safetensors("cut", truncated(whole, whole.size() - 100));
  CHECK(mentions(text, std::to_string(whole.size())));
  CHECK(mentions(text, std::to_string(whole.size() - 100)));
  for (std::size_t size = 0; size < whole.size(); size += 7)
    refused_safetensors("cut", truncated(whole, size));
}

TEST_CASE("read_safetensors: ranges that overlap, leave holes or run backwards",
          "[io][safetensors][crafted]") {
  CHECK(mentions(refused_safetensors("overlap", safetensors_bytes(two(0, 4, 3, 8), 8)), "overlap"));
  CHECK(mentions(refused_safetensors("hole", safetensors_bytes(two(0, 4, 5, 8), 8)), "hole"));
  CHECK(mentions(refused_safetensors("start", safetensors_bytes(entry("[4]", "[1,5]"), 5)), "hole"));
  refused_safetensors("trailing", safetensors_bytes(two(0, 4, 4, 8), 9));
  refused_safetensors("trailing", safetensors_bytes("{}", 1));
  refused_safetensors("backwards", safetensors_bytes(entry("[4]", "[4,0]"), 4));
  refused_safetensors("negative", safetensors_bytes(entry("[4]", "[-4,0]"), 4));
  refused_safetensors("negative", safetensors_bytes(entry("[-4]", "[0,4]"), 4));
  refused_safetensors("float", safetensors_bytes(entry("[4]", "[0,4.0]"), 4));
  refused_safetensors("float", safetensors_bytes(entry("[4]", "[0,4e0]"), 4));
  refused_safetensors("three", safetensors_bytes(entry("[4]", "[0,4,8]"), 4));
  refused_safetensors("one", safetensors_bytes(entry("[4]", "[0]"), 4));
  refused_safetensors("length", safetensors_bytes(entry("[5]", "[0,4]"), 4));
  refused_safetensors("length", safetensors_bytes(entry("[4]", "[0,4]", "\"F32\""), 4));
}

TEST_CASE("read_safetensors: sizes that overflow", "[io][safetensors][crafted]") {
  const std::int64_t resident = peak_resident_bytes();
  // 2^33 * 2^31 wraps to 0, 2^62 * 4 bytes too.
  refused_safetensors("wrap", safetensors_bytes(entry("[8589934592,2147483648]", "[0,0]"), 0));
  refused_safetensors("wrap", safetensors_bytes(entry("[4611686018427387904]", "[0,0]", "\"F32\""), 0));
  refused_safetensors("wrap", safetensors_bytes(entry("[0,8589934592,2147483648]", "[0,0]"), 0));
  refused_safetensors("2^63", safetensors_bytes(entry("[9223372036854775808]", "[0,4]"), 4));
  refused_safetensors("2^63", safetensors_bytes(entry("[4]", "[0,9223372036854775808]"), 4));
  refused_safetensors("2^70", safetensors_bytes(entry("[1180591620717411303424]", "[0,4]"), 4));
  // Consistent in itself, but far beyond the file.
  refused_safetensors("claims", safetensors_bytes(entry("[1099511627776]", "[0,1099511627776]"), 4));
  refused_safetensors("claims",
                      safetensors_bytes(entry("[9223372036854775807]", "[0,9223372036854775807]"), 4));
  refused_safetensors("rank", safetensors_bytes(entry("[1,1,1,1,1,1,1,1,4]", "[0,4]"), 4));
  CHECK(peak_resident_bytes() - resident < (16 << 20));
}

TEST_CASE("read_safetensors: headers that are not what they should be", "[io][safetensors][crafted]") {
  const auto bad = [](const std::string& header) {
    return refused_safetensors("bad", safetensors_bytes(header, 4));
  };
  CHECK(mentions(bad(entry("[4]", "[0,4]", "\"F8_E4M3\"")), "F8_E4M3"));
  CHECK(mentions(bad(entry("[4]", "[0,4]", "\"BOOL\"")), "BOOL"));
  bad(entry("[4]", "[0,4]", "\"\""));
  bad(entry("[4]", "[0,4]", "7"));
  bad(entry("4", "[0,4]"));
  bad(entry("[[4]]", "[0,4]"));
  bad(entry("[\"4\"]", "[0,4]"));
  bad(entry("{}", "[0,4]"));
  const std::string one = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  CHECK(mentions(bad("{" + one + "," + one + "}"), "twice"));
  bad(R"({"a":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}})");
  bad(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"path":"/etc/passwd"}})");
  bad(R"({"a":{"shape":[4],"data_offsets":[0,4]}})");
  bad(R"({"a":{"dtype":"U8","data_offsets":[0,4]}})");
  bad(R"({"a":{"dtype":"U8","shape":[4]}})");
  bad(R"({"a":[0,4]})");
  bad(R"({"a":null})");
  bad("{\"__metadata__\":{\"k\":1}," + one + "}");
  bad("{\"__metadata__\":{\"k\":{}}," + one + "}");
  bad("{\"__metadata__\":\"k\"," + one + "}");
  bad("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}," + one + "}");
  bad("{\"__metadata__\":{},\"__metadata__\":{}," + one + "}");
  bad("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}");
  bad(" {" + one + "}");
  bad("[" + one + "]");
  bad("{" + one);
  bad("{" + one + "}x");
  bad("{" + one + "}" + std::string("\0 {}", 4));
  bad("{" + one + ",}");
  bad("// comment\n{" + one + "}");
  bad("");
  bad("{" + std::string(1000, '['));
  bad("{\"a\":" + std::string(100000, '['));
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "{\"a\":";
  bad(deep);
  bad("{\"" + std::string(1025, 'n') + "\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}");
  // Whatever stands in a name, the error stays one line of printable text.
  bad(R"({"a\nb\u0000":{"dtype":"U8","shape":[5],"data_offsets":[0,4]}})");
}

TEST_CASE("read_safetensors: hundreds of thousands of names over one range", "[io][safetensors][crafted]") {
  const auto names = [](int count) {
    std::string header = "{";
    for (int i = 0; i < count; ++i)
      header += (i ? ",\"" : "\"") + std::to_string(i) +
                "\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}";
    return header + "}";
  };
  CHECK(mentions(refused_safetensors("names", safetensors_bytes(names(400000), 4)),
                 "header"));  // more than 16 MiB
  CHECK(mentions(refused_safetensors("names", safetensors_bytes(names(100001), 4)), "100000"));
  CHECK(mentions(refused_safetensors("names", safetensors_bytes(names(2), 4)), "overlap"));
}

}  // namespace atrous::tests
