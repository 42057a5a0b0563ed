#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/catch.h"

// Every option of every operation is set by a row of the ladder of trust, which runs on the CPU and, in every
// element type, through the CUDA kernels: an option that no row sets by name, to something else than its
// default, is a failure here. (What kernels are compiled for and do not run is found by
// tests/cuda/coverage.sh.)

namespace atrous::tests {
namespace {

namespace fs = std::filesystem;

std::string without_comments(const fs::path& path) {
  std::ifstream file(path);
  std::string code;
  for (std::string line; std::getline(file, line);) code += line.substr(0, line.find("//")) + "\n";
  return code;
}

struct Option {
  std::string name, type, standard;  // `standard`: the initialiser as it is written
};

// The members of every `struct <Something>Options { ... };`
std::vector<Option> options_in(const std::string& header) {
  std::vector<Option> options;
  const std::regex head("struct \\w+Options \\{"),
      member("^\\s*([\\w:<>]+)\\s+(\\w+)\\s*(?:=\\s*([^=]*\\S))?\\s*$");
  for (std::sregex_iterator m(header.begin(), header.end(), head), end; m != end; ++m) {
    const std::size_t begin = std::size_t(m->position() + m->length());
    std::istringstream body(header.substr(begin, header.find("\n};", begin) - begin));
    for (std::string statement; std::getline(body, statement, ';');) {
      std::replace(statement.begin(), statement.end(), '\n', ' ');
      std::smatch found;
      if (std::regex_match(statement, found, member)) options.push_back({found[2], found[1], found[3]});
    }
  }
  return options;
}

// The names of `enum class <type> { ... }`, empty if the headers have no such.
std::vector<std::string> enumerators(const std::string& headers, const std::string& type) {
  std::vector<std::string> names;
  const std::string opening = "enum class " + type + " {";
  const std::size_t at = headers.find(opening);
  if (at == std::string::npos) return names;
  const std::string list = headers.substr(at + opening.size(), headers.find('}', at) - at - opening.size());
  const std::regex word("\\w+");
  for (std::sregex_iterator m(list.begin(), list.end(), word), end; m != end; ++m) names.push_back(m->str());
  return names;
}

// What the rows lack of an option; empty if nothing.
std::string lack(const std::string& headers, const Option& option, const std::string& rows) {
  const std::vector<std::string> values = enumerators(headers, option.type);
  for (const std::string& value : values)
    if (rows.find(option.type + "::" + value) == std::string::npos) return option.type + "::" + value;
  if (!values.empty()) return {};
  const std::regex set("\\." + option.name + " = ([^,}]+)");
  for (std::sregex_iterator m(rows.begin(), rows.end(), set), end; m != end; ++m)
    if ((*m)[1].str() != option.standard) return {};
  return "." + option.name + (option.standard.empty() ? "" : " (other than " + option.standard + ")");
}

}  // namespace

TEST_CASE("option rule: every option of an operation is set by a row of the ladder", "[rules]") {
  const fs::path root = ATROUS_SOURCE_DIR;
  std::string enums;  // where an option's type may be declared
  for (const char* folder : {"autograd", "kernels"})
    for (const auto& entry : fs::recursive_directory_iterator(root / folder))
      if (entry.path().extension() == ".h") enums += without_comments(entry.path());
  int count = 0;
  // Whose rows set the options of a header that has no family of its own.
  const std::vector<std::pair<std::string, std::string>> shared{
      {"conv2d_options", "conv2d"}, {"conv2d_options", "depthwise_conv2d"}, {"softmax", "upsample"}};
  // Options that no output of an operation shows: nothing is multiplied in TF32, and all sums are plain,
  // there; running averages, in tests/autograd/batch_norm_test.cpp and tests/cuda/batch_norm_test.cpp.
  const std::vector<std::pair<std::string, std::string>> elsewhere{
      {"depthwise_conv2d", "allow_tf32"}, {"depthwise_conv2d", "exact"}, {"batch_norm", "decay"}};
  // Values that an operation refuses.
  const std::vector<std::pair<std::string, std::string>> refused{{"batch_norm", "Activation::hard_swish"}};
  const auto check = [&](const std::string& header_name, const std::string& family) {
    const std::string header = without_comments(root / "autograd" / (header_name + ".h"));
    std::string rows = without_comments(root / "tests/autograd" / (family + "_cases.cpp"));
    rows.erase(0, rows.find("const OpCases cases("));  // rows alone, not what makes them
    for (const Option& option : options_in(header)) {
      if (option.type.ends_with("Options")) continue;  // `shared` has its members
      if (std::count(elsewhere.begin(), elsewhere.end(), std::pair(family, option.name))) continue;
      ++count;
      const std::string missing = lack(enums, option, rows);
      if (!missing.empty() && !std::count(refused.begin(), refused.end(), std::pair(family, missing)))
        FAIL_CHECK("tests/autograd/" << family << "_cases.cpp: no row has " << missing);
    }
  };
  for (const auto& entry : fs::directory_iterator(root / "autograd")) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() == ".h" && fs::exists(root / "tests/autograd" / (name + "_cases.cpp")))
      check(name, name);
  }
  for (const auto& [header, family] : shared) check(header, family);
  CHECK(count > 20);
}

TEST_CASE("option rule: the rule itself tells right from wrong", "[rules]") {
  const std::string header =
      "enum class Way { there, back };\nstruct WalkOptions {\n  bool quick = false;\n  Way way = "
      "Way::there;\n"
      "  std::optional<std::int64_t> steps = 255;\n  double pace;\n};\nVariable walk(const WalkOptions& o = "
      "{});\n";
  const std::vector<Option> options = options_in(header);
  REQUIRE(options.size() == 4);
  const auto all = [&](const std::string& rows) {
    std::string text;
    for (const Option& o : options) text += lack(header, o, rows) + ";";
    return text;
  };
  CHECK(all("{.quick = true, .way = Way::back, .pace = 2} {.steps = n, .way = Way::there}") == ";;;;");
  CHECK(all("{.quick = false, .way = Way::there, .steps = 255}") ==
        ".quick (other than false);Way::back;.steps (other than 255);.pace;");
}

}  // namespace atrous::tests
