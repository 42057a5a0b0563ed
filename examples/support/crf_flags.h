#pragma once

#include <optional>
#include <string>

#include "atrous/models/dense_crf.h"
#include "examples/support/program.h"

namespace atrous::examples {

/// "v1", "v2", "demo", ... for --crf. Throws UsageError.
models::CrfParameters parse_crf(const std::string& name);

/// The flags that say which CRF: a preset, and what departs from it.
struct CrfFlags {
  std::string preset, gaussian, bilateral, normalization, method;
  std::int64_t iterations = -1;

  /// For a program that always runs one, `without` being what is said of a missing --crf; and for one that
  /// runs one only if --crf is given.
  void add_to(CLI::App& app, const std::string& without);
  void add_optional_to(CLI::App& app) { add_to(app, "default: no CRF"); }
  /// demo with 10 iterations unless --crf says otherwise. Throws UsageError that names the flag.
  models::CrfParameters parameters() const;
  /// Nothing without --crf. Throws UsageError for a flag that then says nothing, too.
  std::optional<models::CrfParameters> wanted() const;
};

}  // namespace atrous::examples
