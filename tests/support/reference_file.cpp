#include "tests/support/reference_file.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "atrous/core/error.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

using Json = nlohmann::json;

constexpr std::uint32_t kOutputSeed = 99;

std::uint32_t hash(std::uint32_t i, std::uint32_t seed) {
  std::uint32_t h = i * 2654435761u + seed * 40503u + 12345u;
  h ^= h >> 15;
  h *= 2246822519u;
  return h ^ (h >> 13);
}

Shape shape_of(const Json& j) { return Shape(j.at("shape").get<std::vector<std::int64_t>>()); }

Reference array_of(const Json& j) {
  Reference r(shape_of(j));
  r.values = j.at("values").get<std::vector<double>>();
  ATROUS_CHECK(IoError, r.shape.numel() == std::int64_t(r.values.size()), "reference", r.shape, " with ",
               r.values.size(), " values");
  return r;
}

ReferenceCase::Input input_of(const Json& j) {
  ReferenceCase::Input input;
  input.role = j.at("role");
  input.shape = shape_of(j);
  input.integer = j.contains("classes");
  input.requires_grad = j.at("grad");
  const std::uint32_t seed = j.value("seed", 0u);
  if (j.contains("values")) {
    input.values = array_of(j).values;
  } else if (input.integer) {
    for (std::int64_t i = 0; i < input.shape.numel(); ++i)
      input.values.push_back(hash(std::uint32_t(i), seed) % j.at("classes").get<std::uint32_t>());
  } else {
    input.values = formula_input(input.shape, seed, j.at("scale"), j.at("offset"));
  }
  return input;
}

ReferenceCase case_of(const Json& j) {
  ReferenceCase c;
  c.op = j.at("op");
  c.name = j.at("name");
  for (const auto& [key, value] : j.at("options").items()) {
    if (value.is_string())
      c.text_options[key] = value;
    else if (value.is_array())
      c.number_options[key] = value.get<std::vector<double>>();
    else if (!value.is_null())
      c.number_options[key] = {value.is_boolean() ? double(value.get<bool>()) : value.get<double>()};
  }
  for (const auto& input : j.at("inputs")) c.inputs.push_back(input_of(input));
  c.output = array_of(j.at("output"));
  for (const auto& [role, array] : j.at("gradients").items()) c.gradients.emplace(role, array_of(array));
  for (const auto& [name, array] : j.at("further").items()) c.further.emplace(name, array_of(array));
  return c;
}

}  // namespace

double ReferenceCase::number(const std::string& key, double fallback) const {
  const auto found = number_options.find(key);
  return found == number_options.end() ? fallback : found->second.at(0);
}
std::int64_t ReferenceCase::integer(const std::string& key, std::int64_t fallback) const {
  return std::int64_t(number(key, double(fallback)));
}
bool ReferenceCase::flag(const std::string& key, bool fallback) const { return number(key, fallback) != 0; }
std::vector<double> ReferenceCase::numbers(const std::string& key) const {
  const auto found = number_options.find(key);
  return found == number_options.end() ? std::vector<double>() : found->second;
}
std::vector<std::int64_t> ReferenceCase::integers(const std::string& key) const {
  const auto values = numbers(key);
  return {values.begin(), values.end()};
}
std::string ReferenceCase::text(const std::string& key, const std::string& fallback) const {
  const auto found = text_options.find(key);
  return found == text_options.end() ? fallback : found->second;
}
bool ReferenceCase::has(const std::string& key) const {
  return number_options.count(key) || text_options.count(key);
}

ReferenceInputs::ReferenceInputs(const ReferenceCase& c, Dtype dtype) {
  for (const auto& input : c.inputs)
    variables_.emplace(
        input.role, Variable(Tensor::from(input.shape, input.values).to(input.integer ? Dtype::i32 : dtype),
                             input.requires_grad));
}

const Variable& ReferenceInputs::operator[](const std::string& role) const {
  static const Variable absent;
  const auto found = variables_.find(role);
  return found == variables_.end() ? absent : found->second;
}

std::vector<ReferenceCase> read_reference(const std::string& family) {
  const std::string path = std::string(ATROUS_SOURCE_DIR "/tests/reference/") + family + ".json";
  std::ifstream file(path);
  ATROUS_CHECK(IoError, file, "reference", "cannot read ", path);
  std::vector<ReferenceCase> cases;
  try {
    const Json json = Json::parse(file);
    for (const auto& c : json.at("cases")) cases.push_back(case_of(c));
  } catch (const Json::exception& e) {
    fail<IoError>("reference", path, ": ", e.what());
  }
  return cases;
}

std::vector<double> formula_input(const Shape& shape, std::uint32_t seed, double scale, double offset) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    const auto unit = float(double(hash(std::uint32_t(i), seed)) / 2147483648.0 - 1.0);
    values.push_back(float(double(unit) * scale + offset));
  }
  return values;
}

void check_against_reference(
    const std::string& family,
    const std::function<Variable(const ReferenceCase&, const ReferenceInputs&)>& call, double tolerance) {
  const auto cases = read_reference(family);
  REQUIRE(!cases.empty());
  for (const ReferenceCase& c : cases)
    for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
      INFO(c.op << ": " << c.name << ", " << dtype);
      const double allowed = dtype == Dtype::f64 ? tolerance : std::max(tolerance, 1e-5);
      const ReferenceInputs inputs(c, dtype);
      const Variable y = call(c, inputs);
      INFO("output " << y.shape() << ", expected " << c.output.shape);
      CHECK(gap(Reference(y.value()), c.output) <= allowed);
      if (!y.requires_grad() || y.shape() != c.output.shape) continue;
      y.backward(Tensor::from(y.shape(), formula_input(y.shape(), kOutputSeed)).to(dtype));
      for (const auto& [role, gradient] : c.gradients) {
        INFO("gradient of " << role);
        REQUIRE(inputs[role].grad().defined());
        CHECK(gap(Reference(inputs[role].grad()), gradient) <= allowed);
      }
    }
}

}  // namespace atrous::tests
