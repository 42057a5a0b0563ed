#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "atrous/io/element_type.h"

// Python's pickle, as far as a state dict of PyTorch needs it: protocol 2 with the opcodes for numbers,
// texts, tuples, lists and dicts. A pickle is a program that can call any function of Python; here nothing
// can be called. The few names that torch.save writes into state dicts (OrderedDict, _rebuild_tensor_v2, the
// storages, NumPy's scalars) are known and build inert values; any other name is refused.
// Source: Python's Lib/pickletools.py (the opcodes), torch/serialization.py.

namespace atrous::io {

/// A tensor of a state dict: which elements of which storage.
struct PickledTensor {
  std::string name;
  std::string storage;  ///< the name of its entry in the archive, "0", "1", ...
  ElementType type = ElementType::f32;
  std::int64_t storage_size = 0;                      ///< elements
  std::int64_t offset = 0;                            ///< elements
  std::vector<std::int64_t> shape = {}, stride = {};  ///< stride in elements
};

struct PickledState {
  std::vector<PickledTensor> tensors;  ///< in the dict's order
  std::vector<std::string> skipped;    ///< names whose value is no tensor
};

/// The state dict of a pickle: a dict of tensors by name, or the one that such a dict holds under "model",
/// "state_dict" or "model_state". `at` is where the pickle lies in the file, for messages; values may take
/// `budget` bytes of memory. Throws IoError for an opcode or a name that is not known, damage, and where
/// there is no state dict.
PickledState read_pickled_state(const FileReader& file, Span<const std::uint8_t> pickle, std::int64_t at,
                                std::int64_t budget);

}  // namespace atrous::io
