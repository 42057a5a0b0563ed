#include "examples/support/crf_flags.h"

#include <cmath>
#include <cstdlib>
#include <sstream>

#include "atrous/core/error.h"
#include "atrous/models/crf_file.h"

namespace atrous::examples {
namespace {

// `count` finite numbers; all but the first, which is a weight, must be positive.
std::vector<double> numbers(const std::string& flag, const std::string& text, std::size_t count,
                            const char* form) {
  std::vector<double> values;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    char* end = nullptr;
    values.push_back(std::strtod(part.c_str(), &end));
    if (part.empty() || *end || !std::isfinite(values.back()) || (values.size() > 1 && values.back() <= 0))
      throw UsageError(flag + ": \"" + part + "\" is not a positive number");
  }
  if (values.size() != count) throw UsageError(flag + ": \"" + text + "\" is not " + form);
  return values;
}

models::CrfParameters parse_preset(const std::string& name) {
  try {
    return models::crf_preset(name);
  } catch (const ValueError& error) {
    throw UsageError(std::string("--crf: ") + error.what());
  }
}

}  // namespace

Crf::Crf(const std::string& file) : file_(file), learned_(models::load_crf(file)) {
  parameters_ = learned_->learned();
}

Tensor Crf::marginals(const Tensor& unary, const Tensor& image) const {
  if (!learned_) return models::dense_crf(unary, image, parameters_);
  const std::int64_t classes = learned_->settings().classes;
  if (unary.dim(3) != classes)
    throw UsageError("--crf: " + file_ + " was learned for " + std::to_string(classes) +
                     " classes, not for " + std::to_string(unary.dim(3)));
  models::DenseCrf field = learned_->dense_crf(unary, image);
  return field.inference({.iterations = parameters_.iterations});
}

void CrfFlags::add_to(CLI::App& app, const std::string& without) {
  add_presets_to(app, "or a file that `crf_train` wrote; " + without);
}

void CrfFlags::add_presets_to(CLI::App& app, const std::string& without) {
  app.add_option(
      "--crf", preset,
      "Refine by a dense CRF: preset v1, v2, demo or crf_rnn, each also with :caffe, from which the "
      "next five flags depart (" +
          without + ")");
  app.add_option("--iterations", iterations, "Iterations of mean field")->check(CLI::Range(0, 100000));
  app.add_option("--gaussian", gaussian, "WEIGHT,SIGMA of the smoothness term; sigma in pixels");
  app.add_option("--bilateral", bilateral,
                 "WEIGHT,SIGMA_XY,SIGMA_RGB of the appearance term; sigmas in pixels and in 0..255");
  app.add_option("--normalization", normalization, "symmetric, after, before, mean or none")
      ->check(CLI::IsMember({"symmetric", "after", "before", "mean", "none"}));
  app.add_option("--method", method, "lattice, exact (all pairs of pixels), separable or automatic")
      ->check(CLI::IsMember({"lattice", "exact", "separable", "automatic"}));
}

models::CrfParameters CrfFlags::parameters() const {
  if (is_file()) throw UsageError("--crf: this program starts from a preset, not from a file: " + preset);
  models::CrfParameters p = parse_preset(preset.empty() ? "demo" : preset);
  if (preset.empty()) p.iterations = 10;
  if (iterations >= 0) p.iterations = iterations;
  if (!gaussian.empty()) {
    const auto v = numbers("--gaussian", gaussian, 2, "WEIGHT,SIGMA");
    p.gaussian_weight = v[0], p.gaussian_sigma = v[1];
  }
  if (!bilateral.empty()) {
    const auto v = numbers("--bilateral", bilateral, 3, "WEIGHT,SIGMA_XY,SIGMA_RGB");
    p.bilateral_weight = v[0], p.bilateral_sigma_xy = v[1], p.bilateral_sigma_rgb = v[2];
  }
  for (const Normalization n : {Normalization::none, Normalization::mean, Normalization::before,
                                Normalization::after, Normalization::symmetric})
    if (normalization == normalization_name(n)) p.normalization = n;
  for (const FilterMethod m :
       {FilterMethod::lattice, FilterMethod::exact, FilterMethod::separable, FilterMethod::automatic})
    if (method == filter_method_name(m)) p.method = m;
  return p;
}

Crf CrfFlags::crf() const {
  if (!is_file()) return Crf(parameters());
  for (const auto& [flag, value] : {std::pair("--gaussian", &gaussian),
                                    {"--bilateral", &bilateral},
                                    {"--normalization", &normalization},
                                    {"--method", &method}})
    if (!value->empty()) throw UsageError(std::string(flag) + ": " + preset + " says it already");
  Crf learned(preset);
  if (iterations >= 0) learned.set_iterations(iterations);
  return learned;
}

std::optional<Crf> CrfFlags::wanted() const {
  if (!preset.empty()) return crf();
  const std::pair<const char*, bool> given[] = {{"--iterations", iterations >= 0},
                                                {"--gaussian", !gaussian.empty()},
                                                {"--bilateral", !bilateral.empty()},
                                                {"--normalization", !normalization.empty()},
                                                {"--method", !method.empty()}};
  for (const auto& [flag, is_given] : given)
    if (is_given) throw UsageError(std::string(flag) + ": says how --crf refines, and there is no --crf");
  return {};
}

}  // namespace atrous::examples
