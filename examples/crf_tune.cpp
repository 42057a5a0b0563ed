#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "atrous/autograd/softmax.h"
#include "atrous/core/parallel.h"
#include "atrous/io/file.h"
#include "examples/support/crf_flags.h"
#include "examples/support/evaluation.h"
#include "examples/support/progress.h"
#include "examples/support/segmenter.h"

// crf_tune: the dense CRF's parameters by search over a validation set, as the papers found theirs. A lattice
// depends on the deviations alone, so weights are swept inside of each build; pairs of deviations are tried
// in parallel, and counts of pixels do not depend on the order.

using namespace atrous;
using namespace atrous::examples;

namespace {

struct Flags {
  CommonFlags common;
  SegmentFlags segment;
  CrfFlags crf;
  std::string data = "synthetic", split = "val", weights = "3,4,5,6", sigma_xy = "30,50,70,90",
              sigma_rgb = "3,4,5,6";
  std::int64_t images = 0, rounds = 2;
};

struct Setting {
  double weight, sigma_xy, sigma_rgb;
  models::ConfusionMatrix confusion;
};

std::vector<double> parse_list(const std::string& flag, const std::string& text) {
  std::vector<double> numbers;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    char* end = nullptr;
    numbers.push_back(std::strtod(part.c_str(), &end));
    if (part.empty() || *end || !(numbers.back() > 0) || numbers.back() > 1e6)
      throw UsageError(flag + ": \"" + part + "\" is not a positive number");
  }
  if (numbers.empty()) throw UsageError(flag + ": no number given");
  return numbers;
}

// Half way to the neighbours of the best value, and the value itself.
std::vector<double> around(std::vector<double> values, double best) {
  std::sort(values.begin(), values.end());
  const auto at = std::find(values.begin(), values.end(), best);
  const double below = at == values.begin() ? best : best - *(at - 1);
  const double above = at + 1 == values.end() ? below : *(at + 1) - best;
  const double step = (values.size() == 1 ? 0 : std::min(below, above)) / 2;
  if (!(step > 0) || best - step <= 0) return {best};
  return {best - step, best, best + step};
}

void tune(const Flags& flags) {
  if (!flags.segment.resize.empty()) throw UsageError("--resize: the search is at the images' own size");
  Segmenter segmenter(flags.segment, flags.common.apply());
  const std::int64_t classes = segmenter.model().config().classes;
  const auto dataset =
      io::make_dataset(flags.data, io::split_from_name(flags.split),
                       {.classes = classes, .ignore_label = parse_ignore_label(flags.common.ignore_label)});
  const std::int64_t images = flags.images > 0 ? std::min(flags.images, dataset->size()) : dataset->size();
  const models::CrfParameters base = flags.crf.parameters();
  std::vector<double> weights = parse_list("--weights-tried", flags.weights),
                      xy = parse_list("--sigma-xy", flags.sigma_xy),
                      rgb = parse_list("--sigma-rgb", flags.sigma_rgb);
  models::ConfusionMatrix before(classes, io::kIgnore);
  nlohmann::ordered_json tried = nlohmann::ordered_json::array();
  std::optional<Setting> best;
  for (int round = 0; round < int(flags.rounds); ++round) {
    std::vector<Setting> settings;
    for (const double s : xy)
      for (const double c : rgb)
        for (const double w : weights)
          settings.push_back({w, s, c, models::ConfusionMatrix(classes, io::kIgnore)});
    const auto lattices = std::int64_t(xy.size() * rgb.size());
    Progress progress("crf_tune", "images", images);
    for (std::int64_t i = 0; i < images; ++i) {
      const io::Sample sample = dataset->sample(i);
      const Tensor p = segmenter.probabilities(sample.image);
      const Tensor unary = models::unary_from_probabilities(p);
      if (round == 0) before.add(sample.labels, argmax_channels(p));
      parallel_for(lattices, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t l = begin; l < end; ++l) {
          models::DenseCrf crf(unary);
          crf.add_gaussian({base.gaussian_sigma, base.gaussian_sigma},
                           models::Compatibility::potts(base.gaussian_weight),
                           {.normalization = base.normalization});
          Setting* const first = &settings[std::size_t(l) * weights.size()];
          crf.add_bilateral(sample.image, {first->sigma_xy, first->sigma_xy}, {first->sigma_rgb},
                            models::Compatibility::potts(1), {.normalization = base.normalization});
          for (std::size_t w = 0; w < weights.size(); ++w) {
            crf.set_compatibility(1, models::Compatibility::potts(first[w].weight));
            crf.inference({.iterations = base.iterations});
            first[w].confusion.add(sample.labels, crf.map());
          }
        }
      });
      progress.update(i + 1, "round " + std::to_string(round + 1));
    }
    for (const Setting& s : settings) {
      tried.push_back({{"bilateral", {s.weight, s.sigma_xy, s.sigma_rgb}},
                       {"miou", s.confusion.mean_iou()},
                       {"pixel_accuracy", s.confusion.pixel_accuracy()}});
      if (!best || s.confusion.mean_iou() > best->confusion.mean_iou()) best = s;
    }
    weights = around(weights, best->weight);
    xy = around(xy, best->sigma_xy);
    rgb = around(rgb, best->sigma_rgb);
  }
  std::printf("without CRF: mIoU %.4f\nbest: --gaussian %g,%g --bilateral %g,%g,%g: mIoU %.4f\n",
              before.mean_iou(), base.gaussian_weight, base.gaussian_sigma, best->weight, best->sigma_xy,
              best->sigma_rgb, best->confusion.mean_iou());
  if (flags.common.json.empty()) return;
  nlohmann::ordered_json json;
  json["images"] = images;
  json["miou_without_crf"] = before.mean_iou();
  json["miou"] = best->confusion.mean_iou();
  json["gaussian"] = {base.gaussian_weight, base.gaussian_sigma};
  json["bilateral"] = {best->weight, best->sigma_xy, best->sigma_rgb};
  json["normalization"] = normalization_name(base.normalization);
  json["iterations"] = base.iterations;
  json["tried"] = tried;
  io::write_text(flags.common.json, json.dump(1) + "\n", "crf_tune");
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Searches the appearance term's weight and deviations for the best mIoU on a validation set.");
  app.add_option("--data", flags.data,
                 "synthetic | folder:DIR | camvid:DIR | voc:DIR | cityscapes:DIR | ade20k:DIR")
      ->check(check_data_spec)
      ->capture_default_str();
  app.add_option("--split", flags.split, "train or val")
      ->capture_default_str()
      ->check(CLI::IsMember({"train", "val"}));
  app.add_option("--images", flags.images, "Only the first N images (default: all)");
  app.add_option("--weights-tried", flags.weights, "Weights of the appearance term")->capture_default_str();
  app.add_option("--sigma-xy", flags.sigma_xy, "Its deviations of places, pixels")->capture_default_str();
  app.add_option("--sigma-rgb", flags.sigma_rgb, "Its deviations of colours, 0..255")->capture_default_str();
  app.add_option("--rounds", flags.rounds, "Searches, each around the best of the one before")
      ->capture_default_str()
      ->check(CLI::Range(1, 10));
  flags.segment.add_to(app, false);
  flags.crf.add_to(app);
  flags.common.add_run(app);
  flags.common.add_ignore_label(app);
  return run(app, argc, argv, [&] { tune(flags); });
}
