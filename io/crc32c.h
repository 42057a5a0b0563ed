#pragma once

#include <cstdint>

#include "atrous/core/span.h"

namespace atrous::io {

/// CRC-32C (Castagnoli; polynomial 0x1EDC6F41, reflected): finds every flipped bit, and nothing that was done
/// on purpose.
std::uint32_t crc32c(Span<const std::uint8_t> bytes);

}  // namespace atrous::io
