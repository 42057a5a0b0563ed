#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "atrous/io/file.h"
#include "examples/support/program.h"
#include "examples/support/self_check.h"

// selftest: is the library right on this machine, with its processor or its device and driver? A line for
// each operation, then PASS or FAIL.

using namespace atrous;
using namespace atrous::examples;

namespace {

std::string cell(double deviation) {
  if (std::isnan(deviation)) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.1e", deviation);
  return text;
}

void print(const SelfResult& r) {
  std::printf("%-22s %5d %10s %10s %10s %10s %8s   %s\n", r.operation.c_str(), r.cases,
              cell(r.gradient).c_str(), cell(r.adjoint).c_str(), cell(r.oracle_f32).c_str(),
              cell(r.oracle_bf16).c_str(), r.repeats ? "yes" : "NO", r.failures.empty() ? "ok" : "FAILED");
  for (const std::string& failure : r.failures) std::printf("    %s\n", failure.c_str());
}

nlohmann::ordered_json number(double v) {
  return std::isfinite(v) ? nlohmann::ordered_json(v) : nlohmann::ordered_json();
}

nlohmann::ordered_json as_json(const std::vector<SelfResult>& results) {
  auto rows = nlohmann::ordered_json::array();
  for (const SelfResult& r : results)
    rows.push_back({{"operation", r.operation},
                    {"cases", r.cases},
                    {"gradient", number(r.gradient)},
                    {"adjoint", number(r.adjoint)},
                    {"oracle_f32", number(r.oracle_f32)},
                    {"oracle_bf16", number(r.oracle_bf16)},
                    {"repeats", r.repeats},
                    {"failures", r.failures}});
  return rows;
}

struct Flags {
  CommonFlags common;
  bool quick = false;
  std::vector<std::string> checks = {"gradient", "adjoint", "oracle", "repeats"};

  SelfCheckOptions options(Device device) const {
    const auto wanted = [&](const char* check) {
      return std::count(checks.begin(), checks.end(), check) > 0;
    };
    return {.device = device,
            .seed = common.seed,
            .quick = quick,
            .gradient = wanted("gradient"),
            .adjoint = wanted("adjoint"),
            .oracle = wanted("oracle"),
            .repeats = wanted("repeats")};
  }
};

void check_everything(const Flags& all) {
  const CommonFlags& flags = all.common;
  const Device device = flags.apply();
  const auto start = std::chrono::steady_clock::now();
  std::printf("%-22s %5s %10s %10s %10s %10s %8s   %s\n", "operation", "cases", "gradient", "adjoint", "f32",
              "bf16", "repeats", "verdict");
  const std::vector<SelfResult> results = self_check(all.options(device));
  int cases = 0;
  std::string failed;
  for (const SelfResult& r : results) {
    print(r);
    cases += r.cases;
    if (!r.failures.empty()) failed += (failed.empty() ? "" : ", ") + r.operation;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::ostringstream place;
  place << device;
  if (!flags.json.empty())
    io::write_text(flags.json,
                   nlohmann::ordered_json{{"device", place.str()},
                                          {"seed", flags.seed},
                                          {"seconds", seconds},
                                          {"passed", failed.empty()},
                                          {"operations", as_json(results)}}
                           .dump(2) +
                       "\n",
                   "selftest");
  std::printf("%s: %zu operations, %d cases on %s, seed %llu, %.1f s\n", failed.empty() ? "PASS" : "FAIL",
              results.size(), cases, place.str().c_str(), static_cast<unsigned long long>(flags.seed),
              seconds);
  std::fflush(stdout);
  if (!failed.empty()) throw std::runtime_error("wrong on " + place.str() + ": " + failed);
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Checks every operation on this machine, within a minute. gradient: backward() against finite "
      "differences in "
      "double; adjoint: <Ax, y> = <x, A'y> where the operation is linear; f32, bf16: output and gradients "
      "against "
      "the plain kernels in double on the CPU; repeats: the same bits again, every element written and "
      "nothing "
      "else. Numbers are the largest deviations. The last line says PASS or FAIL; the exit status is 0 or "
      "1.");
  flags.common.add_run(app);
  flags.common.add_json(app);
  app.add_option("--seed", flags.common.seed, "Of the inputs")->capture_default_str();
  app.add_flag("--quick", flags.quick, "The small shapes alone");
  app.add_option("--checks", flags.checks, "Which: gradient,adjoint,oracle,repeats")
      ->delimiter(',')
      ->check(CLI::IsMember({"gradient", "adjoint", "oracle", "repeats"}))
      ->capture_default_str();
  return run(app, argc, argv, [&] { check_everything(flags); });
}
