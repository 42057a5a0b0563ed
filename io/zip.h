#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "atrous/io/file.h"

// Zip archives, as PyTorch writes them: entries that are stored as they are, and a directory at the end of
// the file that says where each one is. Source: PKWARE, APPNOTE.TXT 6.3.9, sections 4.3 and 4.5.3 (zip64).

namespace atrous::io {

struct ZipEntry {
  std::string name;
  std::int64_t offset = 0, size = 0;  ///< of its bytes in the file
  std::uint32_t crc = 0;              ///< CRC-32 of its bytes, as they were before compression
  int method = 0;                     ///< 0: stored; any other: compressed, which nothing here can read
};

/// The directory. Throws IoError for a file that is no zip archive or cut off, for encrypted entries, names
/// that occur twice, and an entry that does not lie in the file; at most 100,000 entries.
std::vector<ZipEntry> read_zip_directory(const FileReader& file);

/// Throws IoError unless the entry is stored and its bytes have its sum.
void check_zip_entry(const FileReader& file, const ZipEntry& entry);

}  // namespace atrous::io
