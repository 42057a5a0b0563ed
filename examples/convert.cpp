#include <iostream>

#include "atrous/core/error.h"
#include "atrous/io/colormap.h"
#include "atrous/models/import.h"
#include "atrous/models/name_map.h"
#include "atrous/models/weights.h"
#include "examples/support/program.h"

// convert: published weights of another framework into a checkpoint of ours. Everything is checked first;
// what does not fit is printed, and then no file is written.

using namespace atrous;
using namespace atrous::examples;

namespace {

struct Flags {
  std::string input, output, from;
  std::int64_t in_channels = 3;
  CommonFlags common;
  bool width_given = false;
};

std::vector<std::string> map_names() {
  std::vector<std::string> names;
  for (const models::NameMap& map : models::name_maps()) names.push_back(map.name);
  return names;
}

// Names and colours of the data set with this number of classes.
io::Colormap colormap_of(std::int64_t classes) {
  for (const io::Colormap* known :
       {&io::voc_colormap(), &io::cityscapes_colormap(), &io::ade20k_colormap(), &io::camvid_colormap()})
    if (known->size() == classes) return *known;
  return io::colormap(classes);
}

void convert(const Flags& flags) {
  models::ImportOptions options{.model = flags.common.model, .from = flags.from};
  options.in_channels = flags.in_channels;
  if (flags.common.classes > 0) options.classes = flags.common.classes;
  if (flags.common.output_stride > 0) options.output_stride = flags.common.output_stride;
  if (flags.width_given) options.width = flags.common.width;
  const models::ImportedModel imported = models::import_model(flags.input, options);
  const models::ImportReport& report = imported.report;
  std::cout << flags.input << ": " << report.format << ", names of " << report.from << '\n';
  for (const std::string& note : report.notes) std::cout << "  " << note << '\n';
  for (const std::string& problem : report.problems) std::cout << "  " << problem << '\n';
  if (!imported.model)
    fail<IoError>("convert", flags.input, ": ", report.problems.size(),
                  " of its or the model's tensors do not fit, the first: ", report.problems.front(),
                  "; nothing was written");
  const models::ModelConfig& config = imported.model->config();
  models::save(*imported.model, flags.output, colormap_of(config.classes),
               {{"converted_from", report.format + ", names of " + report.from}});
  std::cout << flags.output << ": " << config.name << ':' << config.convention << ", " << config.classes
            << " classes, output stride " << config.output_stride << ", " << imported.model->parameter_count()
            << " parameters\n";
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Converts published weights (PyTorch .pth, TensorFlow checkpoint, TFLite, Caffe, safetensors) into a "
      "checkpoint.");
  app.add_option("INPUT", flags.input, "The file; of a TensorFlow checkpoint its prefix or its .index")
      ->required();
  app.add_option("OUTPUT", flags.output, "The checkpoint to write, .safetensors")->required();
  flags.common.add_model(app);
  app.get_option("--model")->required();
  const CLI::Option* width = app.get_option("--width");
  app.add_option("--from", flags.from, "Whose names the tensors have (default: whose names fit best)")
      ->check(CLI::IsMember(map_names()));
  app.add_option("--in-channels", flags.in_channels,
                 "Channels of the images; the first convolution is fitted to them")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  return run(app, argc, argv, [&] {
    flags.width_given = width->count() > 0;
    convert(flags);
  });
}
