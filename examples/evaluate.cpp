#include <iostream>

#include "atrous/io/dataset.h"
#include "atrous/io/file.h"
#include "examples/support/evaluation.h"
#include "examples/support/segmenter.h"

// evaluate: scores of trained weights on a data set, from one confusion matrix at full resolution.

using namespace atrous;
using namespace atrous::examples;

namespace {

struct Flags {
  CommonFlags common;
  SegmentFlags segment;
  std::string data = "synthetic", split = "val";
};

void evaluate_all(const Flags& flags) {
  Segmenter segmenter(flags.segment, flags.common.apply());
  const std::int64_t classes = segmenter.model().config().classes;
  const auto dataset =
      io::make_dataset(flags.data, io::split_from_name(flags.split),
                       {.classes = classes, .ignore_label = parse_ignore_label(flags.common.ignore_label)});
  const auto confusion =
      evaluate(*dataset, classes, [&](const io::Sample& sample) { return segmenter.confusion(sample); });
  std::cout << metrics_table(confusion, segmenter.colormap())
            << models::ConfusionMatrix::absent_class_policy() << '\n';
  if (!flags.common.json.empty())
    io::write_text(flags.common.json, metrics_json(confusion, segmenter.colormap()), "evaluate");
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Evaluates weights on a data set: mIoU, IoU by class, pixel accuracy.");
  add_data(app, flags.data);
  add_split(app, flags.split);
  flags.segment.add_to(app);
  flags.common.add_run(app);
  flags.common.add_json(app);
  flags.common.add_tf32(app);
  flags.common.add_ignore_label(app);
  return run(app, argc, argv, [&] { evaluate_all(flags); });
}
