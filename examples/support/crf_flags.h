#pragma once

#include <string>

#include "atrous/models/dense_crf.h"
#include "examples/support/program.h"

namespace atrous::examples {

/// "v1", "v2", "demo", ... for --crf. Throws UsageError.
models::CrfParameters parse_crf(const std::string& name);

/// The flags of crf_refine that say which CRF: a preset, and what departs from it.
struct CrfFlags {
  std::string preset, gaussian, bilateral, normalization, method;
  std::int64_t iterations = -1;

  void add_to(CLI::App& app);
  /// Throws UsageError that names the flag.
  models::CrfParameters parameters() const;
};

}  // namespace atrous::examples
