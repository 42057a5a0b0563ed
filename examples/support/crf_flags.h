#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "atrous/models/crf_layer.h"
#include "atrous/models/dense_crf.h"
#include "examples/support/program.h"

namespace atrous::examples {

/// The CRF that a program refines with: two terms with given parameters, or one that `crf_train` wrote.
class Crf {
 public:
  explicit Crf(const models::CrfParameters& parameters) : parameters_(parameters) {}
  /// Throws IoError.
  explicit Crf(const std::string& file);

  /// Marginals [1, H, W, C] for energies [1, H, W, C] and the image u8 [1, H, W, 3] on any device. Throws
  /// UsageError where the file's CRF is one of another number of classes.
  Tensor marginals(const Tensor& unary, const Tensor& image) const;
  void set_iterations(std::int64_t n) { parameters_.iterations = n; }
  std::string describe() const { return parameters_.describe(); }

 private:
  models::CrfParameters parameters_;  // of a file: the means, to be told, and the iterations
  std::string file_;
  std::shared_ptr<const models::CrfLayer> learned_;
};

/// The flags that say which CRF: a preset and what departs from it, or a file.
struct CrfFlags {
  std::string preset, gaussian, bilateral, normalization, method;
  std::int64_t iterations = -1;

  /// For a program that always runs one, `without` being what is said of a missing --crf; for one that runs
  /// one only if --crf is given; and for one that changes parameters, which starts from a preset.
  void add_to(CLI::App& app, const std::string& without);
  void add_optional_to(CLI::App& app) { add_to(app, "default: no CRF"); }
  void add_presets_to(CLI::App& app, const std::string& without);
  /// The preset with what departs from it, demo with 10 iterations unless --crf says otherwise. Throws
  /// UsageError that names the flag, and for a file.
  models::CrfParameters parameters() const;
  /// The CRF of parameters() or of the file, of which --iterations alone may depart. Throws UsageError.
  Crf crf() const;
  /// Nothing without --crf. Throws UsageError for a flag that then says nothing, too.
  std::optional<Crf> wanted() const;

 private:
  bool is_file() const { return preset.ends_with(".safetensors"); }
};

}  // namespace atrous::examples
