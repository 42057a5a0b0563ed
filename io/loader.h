#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "atrous/io/augment.h"
#include "atrous/io/dataset.h"
#include "atrous/io/preprocessing.h"

namespace atrous::io {

/// What a training step takes.
struct Batch {
  Tensor images;  ///< f32 [N, H, W, 3], preprocessed
  Tensor labels;  ///< u8 [N, H, W]
  std::vector<std::string> names;
};

struct LoaderOptions {
  std::int64_t batch = 1;
  std::uint64_t seed = 1;
  AugmentOptions augment = {};
  Preprocessing preprocessing = {};
  int threads = 1;  ///< that load ahead
  int ahead = 2;    ///< batches that may wait
};

/// The number of the sample at a place of the endless training sequence: each epoch is one shuffle of
/// 0..size-1, drawn from seed and epoch alone.
std::int64_t shuffled_index(std::int64_t size, std::uint64_t seed, std::int64_t place);

/// Batches for training, loaded ahead of their use by threads of its own. Batch k is a function of data set,
/// options and k alone: a loader that starts at `first_step` goes on as one that has got there by itself, and
/// the number of threads changes nothing.
class Loader {
 public:
  /// The data set must live as long as the loader. Throws ValueError for a batch, a number of threads or a
  /// lead below 1.
  Loader(const Dataset& dataset, const LoaderOptions& options, std::int64_t first_step = 0);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The next batch. Waits for it; throws what its loading threw, and does so again when called again.
  Batch next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Batch `step` itself, in the calling thread.
Batch load_batch(const Dataset& dataset, const LoaderOptions& options, std::int64_t step);

}  // namespace atrous::io
