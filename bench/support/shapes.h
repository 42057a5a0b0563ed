#pragma once

#include <cstdint>
#include <string>
#include <vector>

// The layers that decide how fast a DeepLab is, by name, each with its place in a network. A row of the
// benchmark is <key>b<batch>t<threads>/<direction>/<device>/<dtype>.

namespace atrous::bench {

enum class Kind {
  conv,
  depthwise,
  separable,
  aspp,
  transposed,
  bilinear,
  batch_norm,
  batch_norm_add,
  max_pool,
  avg_pool,
  global_pool,
  scale_channels,
  hard_swish,
  cross_entropy,
  upsample_loss,
  upsample_argmax
};

struct Layer {
  const char* key;
  Kind kind;
  std::int64_t h, w;          // of the input
  std::int64_t channels;      // of the input; classes for cross entropy
  std::int64_t filters;       // output channels
  std::int64_t taps;          // side of the window
  std::int64_t stride, rate;  // for bilinear and the fused heads, `stride` is the side of the output
  const char* place;
};

/// Convolutions keep the size at stride 1 (padding rate*(taps-1)/2); an ASPP's branches are a 1x1 window and
/// three of `taps` at rate, 2 rate and 3 rate, `filters` channels each; transposed ones pad (taps-stride)/2;
/// pooling pads (taps-1)/2; bilinear aligns corners.
inline const std::vector<Layer>& layers() {
  static const std::vector<Layer> all = {
      {"conv3x3/h33w33c2048k256r6", Kind::conv, 33, 33, 2048, 256, 3, 1, 6, "ASPP, ResNet, output stride 16"},
      {"conv3x3/h33w33c2048k256r12", Kind::conv, 33, 33, 2048, 256, 3, 1, 12,
       "ASPP, ResNet, output stride 16"},
      {"conv3x3/h33w33c2048k256r18", Kind::conv, 33, 33, 2048, 256, 3, 1, 18,
       "ASPP, ResNet, output stride 16"},
      {"conv3x3/h65w65c2048k256r12", Kind::conv, 65, 65, 2048, 256, 3, 1, 12,
       "ASPP, ResNet, output stride 8"},
      {"conv3x3/h65w65c2048k256r24", Kind::conv, 65, 65, 2048, 256, 3, 1, 24,
       "ASPP, ResNet, output stride 8"},
      {"conv3x3/h65w65c2048k256r36", Kind::conv, 65, 65, 2048, 256, 3, 1, 36,
       "ASPP, ResNet, output stride 8"},
      {"conv3x3/h65w65c512k512r2", Kind::conv, 65, 65, 512, 512, 3, 1, 2, "ResNet block 4"},
      {"conv3x3/h65w65c512k512r4", Kind::conv, 65, 65, 512, 512, 3, 1, 4, "ResNet block 4"},
      {"conv3x3/h41w41c512k1024r12", Kind::conv, 41, 41, 512, 1024, 3, 1, 12, "DeepLab-LargeFOV fc6"},
      {"conv3x3/h129w129c304k256r1", Kind::conv, 129, 129, 304, 256, 3, 1, 1, "v3+ decoder"},
      {"conv3x3/h129w129c256k256r1", Kind::conv, 129, 129, 256, 256, 3, 1, 1, "v3+ decoder, second"},
      {"conv3x3/h33w33c512k512r2", Kind::conv, 33, 33, 512, 512, 3, 1, 2, "ResNet block 4, output stride 16"},
      {"conv1x1/h33w33c2048k256", Kind::conv, 33, 33, 2048, 256, 1, 1, 1, "ASPP 1x1"},
      {"conv1x1/h129w129c256k48", Kind::conv, 129, 129, 256, 48, 1, 1, 1, "v3+ low-level projection"},
      {"conv1x1/h65w65c728k728", Kind::conv, 65, 65, 728, 728, 1, 1, 1, "Xception middle flow"},
      {"conv1x1/h129w129c256k256", Kind::conv, 129, 129, 256, 256, 1, 1, 1,
       "separable decoder, pointwise half"},
      {"conv1x1/h129w129c24k144", Kind::conv, 129, 129, 24, 144, 1, 1, 1, "MobileNetV2, expansion"},
      {"conv1x1/h257w257c32k16", Kind::conv, 257, 257, 32, 16, 1, 1, 1, "MobileNetV2, first projection"},
      {"conv1x1/h129w129c144k24", Kind::conv, 129, 129, 144, 24, 1, 1, 1, "MobileNetV2, projection"},
      {"conv1x1/h33w33c960k160", Kind::conv, 33, 33, 960, 160, 1, 1, 1, "MobileNetV2, projection"},
      {"conv1x1/h129w129c256k21", Kind::conv, 129, 129, 256, 21, 1, 1, 1, "logits of v3+"},
      {"conv3x3/h129w129c16k16r1", Kind::conv, 129, 129, 16, 16, 3, 1, 1, "narrow 3x3"},
      {"conv3x3/h129w129c32k32r1", Kind::conv, 129, 129, 32, 32, 3, 1, 1, "narrow 3x3"},
      {"conv3x3/h129w129c64k64r1", Kind::conv, 129, 129, 64, 64, 3, 1, 1, "ResNet block 1"},
      {"conv3x3/h129w129c128k128r1s2", Kind::conv, 129, 129, 128, 128, 3, 2, 1, "ResNet block 2, first unit"},
      {"conv3x3/h513w513c3k32r1s2", Kind::conv, 513, 513, 3, 32, 3, 2, 1, "stem of MobileNetV2 and Xception"},
      {"conv7x7/h513w513c3k64r1s2", Kind::conv, 513, 513, 3, 64, 7, 2, 1, "stem of ResNet"},
      {"dw3x3/h129w129c256r1", Kind::depthwise, 129, 129, 256, 256, 3, 1, 1, "separable decoder"},
      {"dw3x3/h257w257c128r1", Kind::depthwise, 257, 257, 128, 128, 3, 1, 1, "Xception entry flow"},
      {"dw3x3/h33w33c728r1", Kind::depthwise, 33, 33, 728, 728, 3, 1, 1,
       "Xception middle flow, output stride 16"},
      {"dw3x3/h65w65c728r1", Kind::depthwise, 65, 65, 728, 728, 3, 1, 1, "Xception middle flow"},
      {"dw3x3/h65w65c728r2", Kind::depthwise, 65, 65, 728, 728, 3, 1, 2,
       "Xception middle flow, output stride 8"},
      {"dw3x3/h33w33c2048r1", Kind::depthwise, 33, 33, 2048, 2048, 3, 1, 1, "Xception exit flow"},
      {"dw3x3/h33w33c2048r6", Kind::depthwise, 33, 33, 2048, 2048, 3, 1, 6, "separable ASPP"},
      {"dw3x3/h33w33c2048r12", Kind::depthwise, 33, 33, 2048, 2048, 3, 1, 12, "separable ASPP"},
      {"dw3x3/h33w33c2048r18", Kind::depthwise, 33, 33, 2048, 2048, 3, 1, 18, "separable ASPP"},
      {"dw3x3/h65w65c960r2", Kind::depthwise, 65, 65, 960, 960, 3, 1, 2, "MobileNetV2, output stride 8"},
      {"dw5x5/h33w33c960r2", Kind::depthwise, 33, 33, 960, 960, 5, 1, 2, "MobileNetV3, output stride 16"},
      {"dw3x3/h257w257c128r1s2", Kind::depthwise, 257, 257, 128, 128, 3, 2, 1, "Xception entry flow"},
      {"sep3x3/h129w129c256k256r1", Kind::separable, 129, 129, 256, 256, 3, 1, 1, "separable decoder"},
      {"sep3x3/h65w65c728k728r1", Kind::separable, 65, 65, 728, 728, 3, 1, 1, "Xception middle flow"},
      {"sep3x3/h65w65c728k728r2", Kind::separable, 65, 65, 728, 728, 3, 1, 2,
       "Xception middle flow, output stride 8"},
      {"sep3x3/h33w33c2048k256r6", Kind::separable, 33, 33, 2048, 256, 3, 1, 6, "separable ASPP"},
      {"sep3x3/h33w33c2048k256r12", Kind::separable, 33, 33, 2048, 256, 3, 1, 12, "separable ASPP"},
      {"sep3x3/h33w33c2048k256r18", Kind::separable, 33, 33, 2048, 256, 3, 1, 18, "separable ASPP"},
      {"sep3x3/h65w65c960k160r2", Kind::separable, 65, 65, 960, 160, 3, 1, 2, "MobileNetV2, output stride 8"},
      {"sep3x3/h257w257c128k128r1s2", Kind::separable, 257, 257, 128, 128, 3, 2, 1, "Xception entry flow"},
      {"aspp/h33w33c2048k256r6", Kind::aspp, 33, 33, 2048, 256, 3, 1, 6,
       "ASPP's four branches, ResNet, output stride 16"},
      {"aspp/h65w65c2048k256r12", Kind::aspp, 65, 65, 2048, 256, 3, 1, 12,
       "ASPP's four branches, ResNet, output stride 8"},
      {"deconv/h33w33c21k21f4s2", Kind::transposed, 33, 33, 21, 21, 4, 2, 1, "learned upsampling of logits"},
      {"deconv/h33w33c256k256f4s2", Kind::transposed, 33, 33, 256, 256, 4, 2, 1,
       "learned upsampling of features"},
      {"deconv/h64w64c128k64f2s2", Kind::transposed, 64, 64, 128, 64, 2, 2, 1, "U-Net style decoder"},
      {"bilinear/h129w129c256o513", Kind::bilinear, 129, 129, 256, 256, 1, 513, 1, "features to full size"},
      {"bilinear/h129w129c21o513", Kind::bilinear, 129, 129, 21, 21, 1, 513, 1, "logits to full size"},
      {"bilinear/h33w33c256o129", Kind::bilinear, 33, 33, 256, 256, 1, 129, 1, "ASPP to the decoder"},
      {"bn/h65w65c256", Kind::batch_norm, 65, 65, 256, 256, 1, 1, 1, "ASPP at output stride 8"},
      {"bn/h129w129c256", Kind::batch_norm, 129, 129, 256, 256, 1, 1, 1, "decoder"},
      {"bn/h33w33c2048", Kind::batch_norm, 33, 33, 2048, 2048, 1, 1, 1, "ResNet block 4, output stride 16"},
      {"bnadd/h33w33c160", Kind::batch_norm_add, 33, 33, 160, 160, 1, 1, 1,
       "end of a MobileNetV2 block, output stride 16"},
      {"bnadd/h129w129c256", Kind::batch_norm_add, 129, 129, 256, 256, 1, 1, 1, "end of a ResNet unit"},
      {"maxpool/h257w257c64f3s2", Kind::max_pool, 257, 257, 64, 64, 3, 2, 1, "ResNet, behind the stem"},
      {"maxpool/h65w65c512f3s1", Kind::max_pool, 65, 65, 512, 512, 3, 1, 1, "DeepLab-LargeFOV pool4"},
      {"avgpool/h65w65c512f3s1", Kind::avg_pool, 65, 65, 512, 512, 3, 1, 1, "DeepLab-LargeFOV pool5a"},
      {"gap/h33w33c2048", Kind::global_pool, 33, 33, 2048, 2048, 1, 1, 1, "image pooling of an ASPP"},
      {"scale/h33w33c960", Kind::scale_channels, 33, 33, 960, 960, 1, 1, 1,
       "MobileNetV3, squeeze and excitation"},
      {"hswish/h257w257c16", Kind::hard_swish, 257, 257, 16, 16, 1, 1, 1, "MobileNetV3, behind the stem"},
      {"xent/h513w513c21", Kind::cross_entropy, 513, 513, 21, 21, 1, 1, 1, "VOC loss at full size"},
      {"upxent/h129w129c21o513", Kind::upsample_loss, 129, 129, 21, 21, 1, 513, 1,
       "the same loss from coarse logits"},
      {"upargmax/h129w129c21o513", Kind::upsample_argmax, 129, 129, 21, 21, 1, 513, 1,
       "labels at full size from coarse logits"},
  };
  return all;
}

}  // namespace atrous::bench
