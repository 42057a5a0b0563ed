#include "atrous/autograd/layout.h"
#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

std::vector<OpInput> parts(std::int64_t batch, const std::vector<std::int64_t>& channels) {
  std::vector<OpInput> inputs;
  for (const std::int64_t c : channels) inputs.push_back({"parts", {batch, 5, 7, c}});
  return inputs;
}

Reference concat_reference(const std::vector<Reference>& in) {
  std::int64_t total = 0;
  for (const Reference& part : in) total += part.shape[3];
  Reference y(in[0].shape.with(3, total));
  for (std::int64_t n = 0; n < y.shape[0]; ++n)
    for (std::int64_t h = 0; h < y.shape[1]; ++h)
      for (std::int64_t w = 0; w < y.shape[2]; ++w) {
        std::int64_t to = 0;
        for (const Reference& part : in)
          for (std::int64_t c = 0; c < part.shape[3]; ++c) y.at(n, h, w, to++) = part.at(n, h, w, c);
      }
  return y;
}

OpCase concat_case(const std::string& name, const std::vector<std::int64_t>& channels) {
  return {.op = Op::concat_channels,
          .name = name,
          .inputs = parts(2, channels),
          .call = [](const auto& in) { return concat_channels(in); },
          .reference = concat_reference};
}

OpCase slice_case(const std::string& name, std::int64_t begin, std::int64_t count) {
  return {.op = Op::slice_channels,
          .name = name,
          .inputs = {{"x", {2, 5, 7, 9}}},
          .call = [=](const auto& in) { return slice_channels(in[0], begin, count); },
          .reference =
              [=](const auto& in) {
                Reference y(in[0].shape.with(3, count));
                for (std::int64_t n = 0; n < 2; ++n)
                  for (std::int64_t h = 0; h < 5; ++h)
                    for (std::int64_t w = 0; w < 7; ++w)
                      for (std::int64_t c = 0; c < count; ++c)
                        y.at(n, h, w, c) = in[0].at(n, h, w, begin + c);
                return y;
              },
          .linear = true,
          .nan_passes = begin == 0 && count == 9};
}

OpCase pad_case(const std::string& name, const Padding& p, double value) {
  return {.op = Op::pad,
          .name = name,
          .inputs = {{"x", {2, 5, 7, 3}}},
          .call = [=](const auto& in) { return pad(in[0], p, value); },
          .reference =
              [=](const auto& in) {
                Reference y({2, 5 + p.top + p.bottom, 7 + p.left + p.right, 3});
                for (std::int64_t n = 0; n < 2; ++n)
                  for (std::int64_t oh = 0; oh < y.shape[1]; ++oh)
                    for (std::int64_t ow = 0; ow < y.shape[2]; ++ow)
                      for (std::int64_t c = 0; c < 3; ++c) {
                        const std::int64_t h = oh - p.top, w = ow - p.left;
                        const bool inside = h >= 0 && h < 5 && w >= 0 && w < 7;
                        y.at(n, oh, ow, c) = inside ? in[0].at(n, h, w, c) : value;
                      }
                return y;
              },
          .linear = value == 0,
          .nan_passes = p.top >= 0 && p.bottom >= 0 && p.left >= 0 && p.right >= 0};
}

const OpCases cases({
    concat_case("two parts alike", {3, 3}),
    concat_case("four parts", {1, 4, 2, 17}),
    concat_case("one part", {5}),
    slice_case("from the middle", 2, 3),
    slice_case("the first", 0, 1),
    slice_case("to the end", 4, 5),
    slice_case("everything", 0, 9),
    {.op = Op::slice_channels,
     .name = "rank 1",
     .inputs = {{"x", {9}}},
     .call = [](const auto& in) { return slice_channels(in[0], 3, 4); },
     .reference =
         [](const auto& in) {
           Reference y({4});
           for (int c = 0; c < 4; ++c) y.values[std::size_t(c)] = in[0].values[std::size_t(3 + c)];
           return y;
         },
     .has_batch = false,
     .linear = true},
    pad_case("four sides", {1, 2, 3, 4}, 0),
    pad_case("a constant", {2, 0, 0, 1}, -1.25),
    pad_case("nothing", 0, 7),
    pad_case("crop", {-1, -2, -3, -1}, 0),
    pad_case("crop and pad", {-2, 3, 4, -5}, 2),
    pad_case("beyond the image", {-6, 8, 9, -8}, 0.5),
});

}  // namespace
}  // namespace atrous::tests
