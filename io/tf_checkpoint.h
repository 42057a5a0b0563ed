#pragma once

#include <array>
#include <memory>
#include <string>

#include "atrous/io/weight_file.h"

namespace atrous::io {

/// Whether a file's last 8 bytes are those of a checkpoint's index.
bool is_tf_index(const std::array<std::uint8_t, 8>& tail);

/// A TensorFlow V2 checkpoint by its index file, "PREFIX.index": a sorted table of names (LevelDB's format,
/// uncompressed as TensorFlow writes it) with the type, shape and place of each tensor in the shards
/// "PREFIX.data-0000i-of-0000n" beside it. Every block and every tensor has a CRC-32C, which is checked.
/// Strings (the object graph) are skipped; a variable that was saved in slices is refused by name.
/// Source: tensorflow/core/util/tensor_bundle, tensorflow/core/protobuf/tensor_bundle.proto;
/// github.com/google/leveldb, doc/table_format.md.
std::unique_ptr<WeightFile> open_tf_checkpoint(const std::string& index_path);

}  // namespace atrous::io
