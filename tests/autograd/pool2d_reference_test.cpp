#include "atrous/autograd/pool2d.h"
#include "tests/support/catch.h"
#include "tests/support/reference_file.h"

namespace atrous::tests {

TEST_CASE("pooling: agrees with PyTorch, forward and backward", "[autograd][pool2d]") {
  check_against_reference("pool2d", [](const ReferenceCase& c, const ReferenceInputs& in) {
    if (c.op == "global_avg_pool2d") return global_avg_pool2d(in["x"]);
    const auto number = [&](const char* key, std::size_t i) { return std::int64_t(c.numbers(key).at(i)); };
    const PerAxis window{number("window", 0), number("window", 1)},
        stride{number("stride", 0), number("stride", 1)};
    const Padding padding{number("padding", 0), number("padding", 1), number("padding", 2),
                          number("padding", 3)};
    const bool ceil_mode = c.flag("ceil_mode");
    if (c.op == "max_pool2d")
      return max_pool2d(in["x"],
                        {.window = window, .stride = stride, .padding = padding, .ceil_mode = ceil_mode});
    return avg_pool2d(in["x"], {.window = window,
                                .stride = stride,
                                .padding = padding,
                                .ceil_mode = ceil_mode,
                                .count_include_pad = c.flag("count_include_pad")});
  });
}

}  // namespace atrous::tests
