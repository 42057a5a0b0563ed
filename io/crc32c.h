#pragma once

#include <cstdint>

#include "atrous/core/span.h"

namespace atrous::io {

/// CRC-32C (Castagnoli; polynomial 0x1EDC6F41, reflected): finds every flipped bit, and nothing that was done
/// on purpose.
std::uint32_t crc32c(Span<const std::uint8_t> bytes);

/// The CRC-32 of zip files (polynomial 0x04C11DB7, reflected). `before` is the sum of what came before these
/// bytes: sums can be taken piece by piece.
std::uint32_t crc32(Span<const std::uint8_t> bytes, std::uint32_t before = 0);

}  // namespace atrous::io
