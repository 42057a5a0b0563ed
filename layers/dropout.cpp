#include "atrous/layers/dropout.h"

#include "atrous/autograd/elementwise.h"
#include "atrous/core/error.h"
#include "atrous/core/random.h"

namespace atrous::layers {

Dropout::Dropout(double probability, bool channelwise)
    : probability_(probability),
      channelwise_(channelwise),
      state_(add_buffer("state", Tensor::zeros({2}, Dtype::i64), BufferKind::counter)) {
  ATROUS_CHECK(ValueError, probability >= 0 && probability < 1, "dropout",
               "a probability is at least 0 and below 1, not ", probability);
}

void Dropout::set_seed(std::uint64_t seed, const std::string& name) {
  const auto words = philox(seed, stream_of(name + "dropout"), 0);
  const Span<std::int64_t> state = state_.span<std::int64_t>();
  state[0] = std::int64_t((std::uint64_t(words[0]) << 32) | words[1]);
  state[1] = 0;
}

Variable Dropout::forward(const Variable& x) {
  if (!training() || probability_ == 0) return x;
  const Span<std::int64_t> state = state_.span<std::int64_t>();
  return dropout(x, {.probability = probability_,
                     .seed = std::uint64_t(state[0]),
                     .call = std::uint64_t(state[1]++),
                     .channelwise = channelwise_});
}

}  // namespace atrous::layers
