#include "atrous/io/loader.h"

#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>

#include "atrous/core/error.h"
#include "atrous/core/parallel.h"

namespace atrous::io {
namespace {

// Streams of the seed, so that order and augmentation do not share numbers.
constexpr std::uint64_t kOrder = 1, kAugment = 2;

}  // namespace

std::int64_t shuffled_index(std::int64_t size, std::uint64_t seed, std::int64_t place) {
  const std::int64_t epoch = place / size;
  Random random = Random(seed, kOrder).split(std::uint64_t(epoch));
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  for (std::int64_t i = size - 1; i > 0; --i)
    std::swap(order[std::size_t(i)], order[std::size_t(random.below(i + 1))]);
  return order[std::size_t(place % size)];
}

Batch load_batch(const Dataset& dataset, const LoaderOptions& o, std::int64_t step) {
  const std::int64_t h = o.augment.crop_h, w = o.augment.crop_w;
  Tensor images = Tensor::empty({o.batch, h, w, 3});
  Batch batch;
  batch.labels = Tensor::empty({o.batch, h, w}, Dtype::u8);
  AugmentOptions augment_options = o.augment;
  augment_options.pad_color = o.preprocessing.pad_color;
  for (std::int64_t slot = 0; slot < o.batch; ++slot) {
    const std::int64_t place = step * o.batch + slot;
    const Sample sample = dataset.sample(shuffled_index(dataset.size(), o.seed, place));
    augment(sample, augment_options, Random(o.seed, kAugment).split(std::uint64_t(place)),
            images.span<float>().part(slot * h * w * 3, h * w * 3),
            batch.labels.span<std::uint8_t>().part(slot * h * w, h * w));
    batch.names.push_back(sample.name);
  }
  batch.images = preprocess(images, o.preprocessing);
  return batch;
}

struct Loader::State {
  const Dataset& dataset;
  const LoaderOptions options;
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::int64_t, Batch> ready;
  std::int64_t to_load, to_give;  // numbers of the next batch to begin loading and to hand out
  std::int64_t failed = -1;       // the lowest batch that threw, and what
  std::exception_ptr error;
  bool quit = false;
  std::vector<std::thread> threads;

  void work() {
    const SerialScope serial;
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return quit || (!error && to_load < to_give + options.ahead); });
      if (quit) return;
      const std::int64_t step = to_load++;
      lock.unlock();
      Batch batch;
      std::exception_ptr problem;
      try {
        batch = load_batch(dataset, options, step);
      } catch (...) {
        problem = std::current_exception();
      }
      lock.lock();
      if (problem && (!error || step < failed)) {
        error = problem;
        failed = step;
      }
      if (!problem) ready[step] = std::move(batch);
      changed.notify_all();
    }
  }
};

Loader::Loader(const Dataset& dataset, const LoaderOptions& options, std::int64_t first_step)
    : state_(new State{dataset, options, {}, {}, {}, first_step, first_step, -1, {}, false, {}}) {
  ATROUS_CHECK(ValueError, options.batch >= 1 && options.threads >= 1 && options.ahead >= 1, "loader",
               "batch ", options.batch, ", ", options.threads, " threads, ", options.ahead,
               " batches ahead: all must be at least 1");
  for (int t = 0; t < options.threads; ++t) state_->threads.emplace_back([this] { state_->work(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->quit = true;
  }
  state_->changed.notify_all();
  for (auto& thread : state_->threads) thread.join();
}

Batch Loader::next() {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  s.changed.wait(lock, [&] { return s.ready.count(s.to_give) || (s.error && s.failed == s.to_give); });
  if (!s.ready.count(s.to_give)) std::rethrow_exception(s.error);
  Batch batch = std::move(s.ready[s.to_give]);
  s.ready.erase(s.to_give++);
  s.changed.notify_all();
  return batch;
}

}  // namespace atrous::io
