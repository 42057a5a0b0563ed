#include "atrous/kernels/wgmma_layout.h"

#include <cstring>
#include <set>
#include <vector>

#include "atrous/kernels/conv2d/wgmma_gemm.h"
#include "tests/support/catch.h"

// What the kernel on wgmma writes, and how its instructions read it, without either: the reading side here is
// written from the canonical layouts of the PTX ISA alone.

namespace atrous::tests {
namespace {

using namespace kernels;

// The address at which wgmma finds element k of row (or column) `outer`, from the fields of a descriptor.
struct Reader {
  std::uint64_t bits;
  std::uint32_t start() const { return std::uint32_t(bits & 0x3fff) * 16; }
  std::uint32_t leading() const { return std::uint32_t(bits >> 16 & 0x3fff) * 16; }
  std::uint32_t stride() const { return std::uint32_t(bits >> 32 & 0x3fff) * 16; }
  // The exchange works on addresses: bit b of bits 4..6 is that bit xor bit b + 3.
  static std::uint32_t exchange(std::uint32_t address) {
    for (int b = 4; b < 7; ++b)
      if (address >> (b + 3) & 1) address ^= 1u << b;
    return address;
  }
  std::uint32_t outer_rows(int outer, int k) const {
    return exchange(start() + unsigned(outer / 8) * stride() + unsigned(outer % 8) * 128 + unsigned(k) * 2);
  }
  std::uint32_t depth_rows(int outer, int k) const {
    return exchange(start() + unsigned(outer / 64) * leading() + unsigned(outer % 64) * 2 +
                    unsigned(k / 8) * stride() + unsigned(k % 8) * 128);
  }
};

}  // namespace

TEST_CASE("wgmma layout: the fields of a descriptor, by hand", "[wgmma]") {
  // At byte 0x8400, atoms 1024 bytes apart, blocks of 64 columns 8192.
  CHECK(depth_rows_descriptor(0x8400, 8192) == 0x4000004002000840u);
  CHECK(outer_rows_descriptor(0x8400) == 0x4000004000010840u);
  CHECK(advanced(outer_rows_descriptor(0x8400), 32) == 0x4000004000010842u);
  // The last address of 227 KB does not leave its field.
  CHECK((advanced(outer_rows_descriptor(0), 227 * 1024) & ~std::uint64_t(0x3fff)) ==
        (outer_rows_descriptor(0) & ~std::uint64_t(0x3fff)));
}

TEST_CASE("wgmma layout: the exchange keeps rows, and spreads a column over the banks", "[wgmma]") {
  std::set<std::uint32_t> all;
  for (std::uint32_t at = 0; at < 2 * kSwizzleAtom; ++at) {
    CHECK(swizzled(swizzled(at)) == at);
    CHECK(swizzled(at) / kSwizzleRow == at / kSwizzleRow);
    CHECK(swizzled(at) % 16 == at % 16);
    all.insert(swizzled(at));
  }
  CHECK(all.size() == 2 * kSwizzleAtom);
  for (std::uint32_t chunk = 0; chunk < 8; ++chunk) {
    std::set<std::uint32_t> banks;
    for (std::uint32_t row = 0; row < 8; ++row)
      banks.insert(swizzled(row * kSwizzleRow + chunk * 16) % 128 / 16);
    CHECK(banks.size() == 8);
  }
}

TEST_CASE("wgmma layout: what the gather writes is what wgmma reads as outer rows", "[wgmma]") {
  // 128 pixels x 64 channels, the second warpgroup from row 64 on; element = row * 64 + channel.
  constexpr std::uint32_t kStage = 3 * 49152;
  std::vector<int> shared(kStage + 128 * kSwizzleRow, -1);
  for (int row = 0; row < 128; ++row)
    for (int chunk = 0; chunk < 8; ++chunk)
      for (int e = 0; e < 8; ++e)
        shared[kStage + swizzled(std::uint32_t(row) * kSwizzleRow + std::uint32_t(chunk) * 16) +
               std::uint32_t(e) * 2] = row * 64 + chunk * 8 + e;
  for (int group = 0; group < 2; ++group)
    for (int step = 0; step < 4; ++step) {
      const std::uint64_t base = outer_rows_descriptor(std::uint32_t(group) * 64 * kSwizzleRow);
      const Reader reader{advanced(base, kStage + std::uint32_t(step) * kOuterRowsStep)};
      for (int row = 0; row < 64; ++row)
        for (int k = 0; k < kWgmmaDepth; ++k)
          CHECK(shared[reader.outer_rows(row, k)] == (group * 64 + row) * 64 + step * kWgmmaDepth + k);
    }
}

TEST_CASE("wgmma layout: what boxes of 64 x 64 write is what wgmma reads as depth rows", "[wgmma]") {
  // 64 source channels x 256 outputs in four boxes; element = channel * 256 + output.
  constexpr std::uint32_t kBase = 16384, kBox = 64 * kSwizzleRow;
  std::vector<int> shared(kBase + 4 * kBox, -1);
  for (int box = 0; box < 4; ++box)
    for (int channel = 0; channel < 64; ++channel)
      for (int output = 0; output < 64; ++output) {
        // The copy engine writes a box row after row, then exchanges chunks by address.
        const std::uint32_t plain =
            kBase + std::uint32_t(box) * kBox + std::uint32_t(channel * 64 + output) * 2;
        shared[Reader::exchange(plain)] = channel * 256 + box * 64 + output;
      }
  for (int step = 0; step < 4; ++step) {
    const Reader reader{advanced(depth_rows_descriptor(kBase, kBox), std::uint32_t(step) * kDepthRowsStep)};
    for (int output = 0; output < 256; ++output)
      for (int k = 0; k < kWgmmaDepth; ++k)
        CHECK(shared[reader.depth_rows(output, k)] == (step * kWgmmaDepth + k) * 256 + output);
  }
}

TEST_CASE("wgmma layout: places in the ring and the parities of their phases", "[wgmma]") {
  const auto follow = []<int kStages>(RingPlace<kStages> producer) {
    RingPlace<kStages> consumer;
    std::vector<int> filled(kStages), emptied(kStages);  // phases completed
    const auto passes = [](int completed, std::uint32_t parity) { return unsigned(completed & 1) != parity; };
    const auto fill = [&] {
      ++filled[std::size_t(producer.stage)];
      producer.next();
    };
    const auto empty = [&] {
      ++emptied[std::size_t(consumer.stage)];
      consumer.next();
    };
    const auto can_fill = [&] { return passes(emptied[std::size_t(producer.stage)], producer.parity ^ 1); };
    const auto can_empty = [&] { return passes(filled[std::size_t(consumer.stage)], consumer.parity); };
    for (int round = 0; round < 3; ++round) {
      for (int step = 0; step < kStages; ++step) {
        CHECK((producer.stage == step && consumer.stage == step));
        CHECK(can_empty() == false);
        for (int ahead = step; ahead < kStages + step && can_fill(); ++ahead) fill();
        CHECK(can_fill() == false);  // all stages are full
        CHECK(can_empty());
        empty();
        CHECK(can_fill());
        for (int left = 1; left < kStages; ++left) {
          CHECK(can_empty());
          empty();
        }
        CHECK(can_empty() == false);
        fill();  // one step on
        empty();
      }
    }
  };
  follow(RingPlace<4>());
  follow(RingPlace<6>());
}

TEST_CASE("wgmma layout: boxes of a weight keep to what the copy engine takes", "[wgmma]") {
  alignas(16) static const char weight[16] = {};
  const Conv2dDims d = with_output_size({.batch = 1,
                                         .in_h = 9,
                                         .in_w = 9,
                                         .in_channels = 304,
                                         .out_channels = 256,
                                         .window_h = 3,
                                         .window_w = 2});
  const TensorBoxes forward = wgmma_weight_boxes(Gather::forward, d, weight);
  CHECK(std::vector<std::uint64_t>(forward.sizes, forward.sizes + 3) ==
        std::vector<std::uint64_t>{256, 304, 6});
  CHECK(forward.strides[0] == 512);
  CHECK(forward.strides[1] == 304 * 512);
  CHECK(forward.bytes() == 64 * 128);
  const TensorBoxes backward = wgmma_weight_boxes(Gather::backward_input, d, weight);
  CHECK(backward.box[1] == 128);  // 304 outputs: three tiles of 128 leave less idle than two of 256
  CHECK(backward.bytes() == 128 * 128);
  for (const TensorBoxes& b : {forward, backward}) {
    CHECK(b.data == weight);
    CHECK(b.box[0] * 2 == kSwizzleRow);
    CHECK((b.box[1] <= 256 && b.box[2] == 1));
    CHECK((b.strides[0] % 16 == 0 && b.strides[1] % 16 == 0));
  }
}

TEST_CASE("wgmma: which convolutions suit it", "[wgmma]") {
  const auto sizes = [](std::int64_t in, std::int64_t out) {
    return with_output_size({.batch = 8,
                             .in_h = 33,
                             .in_w = 33,
                             .in_channels = in,
                             .out_channels = out,
                             .window_h = 3,
                             .window_w = 3,
                             .padding = 1});
  };
  CHECK(wgmma_outputs(72) == 128);
  CHECK(wgmma_outputs(256) == 256);
  CHECK(wgmma_outputs(304) == 128);
  CHECK(wgmma_outputs(512) == 256);
  CHECK(takes_wgmma(Gather::forward, sizes(2048, 256)));
  CHECK(takes_wgmma(Gather::backward_input, sizes(2048, 256)));
  CHECK(takes_wgmma(Gather::forward, sizes(304, 256)));
  CHECK_FALSE(takes_wgmma(Gather::forward, sizes(2048, 21)));  // rows that are not whole chunks
  CHECK_FALSE(can_take_wgmma(Gather::forward, sizes(2048, 21)));
  CHECK_FALSE(takes_wgmma(Gather::forward, sizes(24, 256)));  // most of a step would be zeros
  CHECK_FALSE(takes_wgmma(Gather::forward, sizes(256, 64)));  // most of a tile would be idle
  CHECK(can_take_wgmma(Gather::forward, sizes(256, 64)));
}

}  // namespace atrous::tests
