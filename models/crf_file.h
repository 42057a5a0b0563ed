#pragma once

#include <memory>
#include <string>

#include "atrous/models/crf_layer.h"

// A learned CRF as a file: safetensors with the layer's parameters by name, and its settings as metadata,
// "atrous.crf.classes", ".image_channels", ".learning", ".iterations", ".normalization", ".method" and the
// deviations that it started from. Equal content gives equal bytes.

namespace atrous::models {

/// Writes the layer whole or not at all. Throws IoError.
void save_crf(const CrfLayer& crf, const std::string& path);

/// A layer as save_crf() wrote it, on the host. Throws IoError with the file's name for what
/// read_safetensors() refuses, a file that holds no CRF or one of a newer format, settings that are missing
/// or make no sense, and parameters that are missing, superfluous, of another shape or not finite.
std::unique_ptr<CrfLayer> load_crf(const std::string& path);

}  // namespace atrous::models
