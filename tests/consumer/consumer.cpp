// What a user's first program looks like: it knows the installed headers and the archive, nothing of the
// source tree.
#include <atrous/atrous.h>

#include <cstdio>

using namespace atrous;

int main() {
  auto model = models::make("deeplab_v3plus_mobilenet_v2", {.classes = 5, .width = 0.25});
  Tensor image = Tensor::full({1, 65, 97, 3}, 128, Dtype::u8);
  const Tensor labels = models::segment(*model, image);
  if (labels.shape() != Shape{1, 65, 97} || labels.dtype() != Dtype::u8) return 1;

  Variable x(Tensor::full({1, 9, 9, 3}, 1.0), true);
  Variable w(Tensor::full({3, 3, 3, 4}, 0.5), true);
  sum(relu(conv2d(x, w, {}, {.padding = 2, .rate = 2}))).backward();
  if (w.grad().numel() != 3 * 3 * 3 * 4) return 1;

  try {
    models::make("deeplab_v9", {});
    return 1;
  } catch (const Error& error) {
    std::printf("atrous %s: %s\n", ATROUS_VERSION, error.what());
  }
  return 0;
}
