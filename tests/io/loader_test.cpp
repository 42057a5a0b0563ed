#include "atrous/io/loader.h"

#include <set>

#include "atrous/core/error.h"
#include "tests/support/catch.h"

namespace atrous::tests {
namespace {

/// Images of one grey value, their number; sample `broken` cannot be read.
class Greys : public io::Dataset {
 public:
  explicit Greys(std::int64_t size, std::int64_t broken = -1)
      : Dataset(io::colormap(3)), size_(size), broken_(broken) {}
  std::int64_t size() const override { return size_; }
  io::Sample sample(std::int64_t i) const override {
    ATROUS_CHECK(IoError, i != broken_, "greys", "sample ", i, " is broken");
    return {Tensor::full({1, 9, 12, 3}, double(i), Dtype::u8),
            Tensor::full({1, 9, 12}, double(i % 3), Dtype::u8), name(i)};
  }
  std::string name(std::int64_t i) const override { return std::to_string(i); }

 private:
  std::int64_t size_, broken_;
};

io::LoaderOptions options(int threads = 1) {
  io::LoaderOptions o;
  o.batch = 3;
  o.threads = threads;
  o.augment.crop_h = 7;
  o.augment.crop_w = 8;
  return o;
}

bool same(const io::Batch& a, const io::Batch& b) {
  return identical(a.images, b.images) && identical(a.labels, b.labels) && a.names == b.names;
}

}  // namespace

TEST_CASE("loader: every epoch has each sample once, in an order of its own", "[io][loader]") {
  std::set<std::vector<std::int64_t>> orders;
  for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
    std::vector<std::int64_t> order;
    for (std::int64_t i = 0; i < 10; ++i) order.push_back(io::shuffled_index(10, 7, epoch * 10 + i));
    CHECK(std::set<std::int64_t>(order.begin(), order.end()).size() == 10);
    orders.insert(order);
  }
  CHECK(orders.size() == 4);
  CHECK(io::shuffled_index(1, 7, 5) == 0);
}

TEST_CASE("loader: batches have preprocessed images, labels and names", "[io][loader]") {
  const Greys data(5);
  const io::Batch batch = io::load_batch(data, options(), 0);
  CHECK(batch.images.shape() == Shape({3, 7, 8, 3}));
  CHECK(batch.labels.shape() == Shape({3, 7, 8}));
  REQUIRE(batch.names.size() == 3);
  for (std::int64_t slot = 0; slot < 3; ++slot) {
    const int number = std::stoi(batch.names[std::size_t(slot)]);
    for (std::int64_t p = 0; p < 56; ++p) {
      const int label = batch.labels.span<std::uint8_t>()[slot * 56 + p];
      const float red = batch.images.span<float>()[(slot * 56 + p) * 3];
      // A pixel is the sample's, or padding: label 255 and the mean colour, which is 0 to the network.
      REQUIRE((label == number % 3 || label == io::kIgnore));
      REQUIRE(red == Approx(label == io::kIgnore ? 0.0f : float(number) / 127.5f - 1));
    }
  }
}

TEST_CASE("loader: one and three threads give the same batches", "[io][loader]") {
  const Greys data(8);
  io::Loader one(data, options(1)), three(data, options(3));
  for (std::int64_t step = 0; step < 12; ++step) {
    INFO("step " << step);
    const io::Batch a = one.next(), b = three.next();
    CHECK(same(a, b));
    CHECK(same(a, io::load_batch(data, options(), step)));
  }
}

TEST_CASE("loader: one that starts at a step goes on as if it had come there", "[io][loader]") {
  const Greys data(8);
  io::Loader whole(data, options(2)), resumed(data, options(1), 5);
  for (int step = 0; step < 5; ++step) whole.next();
  for (int step = 5; step < 9; ++step) CHECK(same(whole.next(), resumed.next()));
  io::LoaderOptions other = options();
  other.seed = 2;
  CHECK_FALSE(same(io::load_batch(data, options(), 0), io::load_batch(data, other, 0)));
}

TEST_CASE("loader: an error comes out at its batch as what it was", "[io][loader]") {
  const Greys data(30, 17);
  std::int64_t bad = 0;  // the batch with sample 17
  while (io::shuffled_index(30, 1, bad) != 17) ++bad;
  bad /= 3;
  for (const int threads : {1, 3}) {
    io::Loader loader(data, options(threads));
    for (std::int64_t step = 0; step < bad; ++step) CHECK_NOTHROW(loader.next());
    CHECK_THROWS_AS(loader.next(), IoError);
    CHECK_THROWS_WITH(loader.next(), "[greys] sample 17 is broken");
  }
}

TEST_CASE("loader: may be given up at any time", "[io][loader]") {
  const Greys data(4);
  for (int taken = 0; taken < 3; ++taken)
    for (const int threads : {1, 4}) {
      io::Loader loader(data, options(threads));
      for (int i = 0; i < taken; ++i) loader.next();
    }
  SUCCEED();
}

TEST_CASE("loader: refuses a batch, threads or a lead below one", "[io][loader]") {
  const Greys data(4);
  io::LoaderOptions o = options();
  o.batch = 0;
  CHECK_THROWS_AS(io::Loader(data, o), ValueError);
  o = options(0);
  CHECK_THROWS_AS(io::Loader(data, o), ValueError);
  o = options();
  o.ahead = 0;
  CHECK_THROWS_AS(io::Loader(data, o), ValueError);
}

}  // namespace atrous::tests
