#include <algorithm>
#include <array>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "atrous/autograd/softmax.h"
#include "atrous/core/parallel.h"
#include "atrous/io/file.h"
#include "examples/support/evaluation.h"
#include "examples/support/progress.h"
#include "examples/support/segmenter.h"

// crf_tune: the dense CRF's parameters by search over a validation set, as the papers found theirs: a grid
// around the published ranges, then finer ones around the best. A lattice depends on the deviations alone, so
// weights are swept inside of each build; images and pairs of deviations are tried in parallel. Scores are
// counts of pixels: neither the order nor the number of threads shows in them.

using namespace atrous;
using namespace atrous::examples;

namespace {

// An axis of the grid: its values, in ascending order.
using Axis = std::vector<double>;
enum { kGaussianWeight, kWeight, kSigmaXy, kSigmaRgb, kAxes };
using Point = std::array<double, kAxes>;

struct Flags {
  CommonFlags common;
  SegmentFlags segment;
  CrfFlags crf;
  std::string data = "synthetic", split = "val";
  std::string gaussian_weights, weights = "3,4,5,6", sigma_xy = "30,50,70,90", sigma_rgb = "3,4,5,6";
  std::int64_t images = 0, rounds = 2;
};

struct Setting {
  Point at;
  models::ConfusionMatrix confusion;
};

Axis parse_axis(const std::string& flag, const std::string& text) {
  Axis axis = parse_numbers(flag, text, 1e6);
  std::sort(axis.begin(), axis.end());
  axis.erase(std::unique(axis.begin(), axis.end()), axis.end());
  return axis;
}

// The best value, and half way to its neighbours; at an end of the axis as far to either side.
Axis around(const Axis& axis, double best) {
  const auto at = std::find(axis.begin(), axis.end(), best);
  const double below = at == axis.begin() ? 0 : best - *(at - 1),
               above = at + 1 == axis.end() ? 0 : *(at + 1) - best;
  const double down = (below > 0 ? below : above) / 2, up = (above > 0 ? above : below) / 2;
  Axis finer;
  if (down > 0 && best - down > 0) finer.push_back(best - down);
  finer.push_back(best);
  if (up > 0) finer.push_back(best + up);
  return finer;
}

class Search {
 public:
  explicit Search(const Flags& flags)
      : segmenter_(flags.segment, flags.common.apply()),
        classes_(segmenter_.model().config().classes),
        dataset_(io::make_dataset(
            flags.data, io::split_from_name(flags.split),
            {.classes = classes_, .ignore_label = parse_ignore_label(flags.common.ignore_label)})),
        images_(flags.images > 0 ? std::min(flags.images, dataset_->size()) : dataset_->size()),
        base_(flags.crf.parameters()),
        before_(classes_, io::kIgnore) {}

  /// Tries every point of the grid that has not been tried.
  void run(const std::array<Axis, kAxes>& grid, const std::string& name) {
    // Lattices by their deviations, each with the weights that are new there.
    std::vector<std::vector<std::size_t>> lattices;
    for (const double xy : grid[kSigmaXy])
      for (const double rgb : grid[kSigmaRgb]) {
        std::vector<std::size_t> of_lattice;
        for (const double g : grid[kGaussianWeight])
          for (const double w : grid[kWeight]) {
            const Point at = {g, w, xy, rgb};
            if (!tried_.insert(at).second) continue;
            of_lattice.push_back(settings_.size());
            settings_.push_back({at, models::ConfusionMatrix(classes_, io::kIgnore)});
          }
        if (!of_lattice.empty()) lattices.push_back(std::move(of_lattice));
      }
    const bool first = before_.total() == 0;
    Progress progress("crf_tune", "images", images_);
    for (std::int64_t at = 0; at < images_;) {
      const std::int64_t end = std::min<std::int64_t>(images_, at + threads());
      std::vector<Image> images;
      for (std::int64_t i = at; i < end; ++i) {
        const io::Sample sample = dataset_->sample(i);
        const Tensor seen = segmenter_.seen(sample.image);
        images.push_back({sample, seen, segmenter_.unary(seen)});
        if (first) before_.add(sample.labels, segmenter_.labels(sample.image));
      }
      try_all(images, lattices);
      at = end;
      progress.update(at, name);
    }
  }

  const Setting& best() const {
    const Setting* best = &settings_.front();
    for (const Setting& s : settings_)
      if (s.confusion.mean_iou() > best->confusion.mean_iou()) best = &s;
    return *best;
  }
  const std::vector<Setting>& settings() const { return settings_; }
  const models::ConfusionMatrix& before() const { return before_; }
  const models::CrfParameters& base() const { return base_; }
  std::int64_t images() const { return images_; }

 private:
  struct Image {
    io::Sample sample;
    Tensor seen, unary;
  };

  void try_all(const std::vector<Image>& images, const std::vector<std::vector<std::size_t>>& lattices) {
    const auto tasks = std::int64_t(images.size() * lattices.size());
    std::vector<std::vector<models::ConfusionMatrix>> found(static_cast<std::size_t>(tasks));
    parallel_for(tasks, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        const Image& image = images[std::size_t(t) / lattices.size()];
        const std::vector<std::size_t>& of_lattice = lattices[std::size_t(t) % lattices.size()];
        const Point& deviations = settings_[of_lattice[0]].at;
        models::DenseCrf crf(image.unary);
        crf.add_gaussian({base_.gaussian_sigma, base_.gaussian_sigma}, models::Compatibility::potts(1),
                         {.normalization = base_.normalization, .method = base_.method});
        const bool separable = base_.method == FilterMethod::separable;
        crf.add_bilateral(image.seen, {deviations[kSigmaXy], deviations[kSigmaXy]}, {deviations[kSigmaRgb]},
                          models::Compatibility::potts(1),
                          {.normalization = base_.normalization,
                           .method = separable ? FilterMethod::lattice : base_.method});
        for (const std::size_t s : of_lattice) {
          crf.set_compatibility(0, models::Compatibility::potts(settings_[s].at[kGaussianWeight]));
          crf.set_compatibility(1, models::Compatibility::potts(settings_[s].at[kWeight]));
          crf.inference({.iterations = base_.iterations});
          models::ConfusionMatrix counts(classes_, io::kIgnore);
          counts.add(image.sample.labels, segmenter_.restored(crf.map(), image.sample.image));
          found[std::size_t(t)].push_back(std::move(counts));
        }
      }
    });
    for (std::size_t t = 0; t < found.size(); ++t)
      for (std::size_t k = 0; k < found[t].size(); ++k)
        settings_[lattices[t % lattices.size()][k]].confusion.merge(found[t][k]);
  }

  Segmenter segmenter_;
  std::int64_t classes_;
  std::unique_ptr<io::Dataset> dataset_;
  std::int64_t images_;
  models::CrfParameters base_;
  models::ConfusionMatrix before_;
  std::vector<Setting> settings_;
  std::set<Point> tried_;
};

std::string flags_of(const models::CrfParameters& base, const Point& p) {
  char text[160];
  std::snprintf(text, sizeof text, "--gaussian %g,%g --bilateral %g,%g,%g", p[kGaussianWeight],
                base.gaussian_sigma, p[kWeight], p[kSigmaXy], p[kSigmaRgb]);
  return text;
}

void print(const Search& search) {
  std::vector<const Setting*> ranked;
  for (const Setting& s : search.settings()) ranked.push_back(&s);
  std::stable_sort(ranked.begin(), ranked.end(), [](const Setting* a, const Setting* b) {
    return a->confusion.mean_iou() > b->confusion.mean_iou();
  });
  std::printf("  mIoU %%  pixels %%  the best of %zu settings on %ld images\n", ranked.size(),
              long(search.images()));
  for (std::size_t i = 0; i < std::min<std::size_t>(10, ranked.size()); ++i)
    std::printf("  %6.2f    %6.2f  %s\n", 100 * ranked[i]->confusion.mean_iou(),
                100 * ranked[i]->confusion.pixel_accuracy(), flags_of(search.base(), ranked[i]->at).c_str());
  std::printf("  %6.2f    %6.2f  without a CRF\n", 100 * search.before().mean_iou(),
              100 * search.before().pixel_accuracy());
}

std::string json_of(const Search& search) {
  const auto scores = [](const models::ConfusionMatrix& confusion) {
    nlohmann::ordered_json json;
    json["miou"] = confusion.mean_iou();
    json["pixel_accuracy"] = confusion.pixel_accuracy();
    return json;
  };
  const auto setting = [&](const Setting& s) {
    nlohmann::ordered_json json = scores(s.confusion);
    json["gaussian"] = {s.at[kGaussianWeight], search.base().gaussian_sigma};
    json["bilateral"] = {s.at[kWeight], s.at[kSigmaXy], s.at[kSigmaRgb]};
    return json;
  };
  nlohmann::ordered_json json;
  json["images"] = search.images();
  json["normalization"] = normalization_name(search.base().normalization);
  json["iterations"] = search.base().iterations;
  json["without_crf"] = scores(search.before());
  json["best"] = setting(search.best());
  for (const Setting& s : search.settings()) json["tried"].push_back(setting(s));
  return json.dump(1) + "\n";
}

void tune(const Flags& flags) {
  if (!flags.crf.bilateral.empty())
    throw UsageError(
        "--bilateral: is what is searched for; say where with --bilateral-weights, "
        "--bilateral-sigmas-xy and --bilateral-sigmas-rgb");
  const double gaussian_weight = flags.crf.parameters().gaussian_weight;
  std::array<Axis, kAxes> grid = {
      flags.gaussian_weights.empty() ? Axis{gaussian_weight}
                                     : parse_axis("--gaussian-weights", flags.gaussian_weights),
      parse_axis("--bilateral-weights", flags.weights), parse_axis("--bilateral-sigmas-xy", flags.sigma_xy),
      parse_axis("--bilateral-sigmas-rgb", flags.sigma_rgb)};
  Search search(flags);
  for (std::int64_t round = 1; round <= flags.rounds; ++round) {
    search.run(grid, "round " + std::to_string(round));
    for (std::size_t a = 0; a < kAxes; ++a) {
      // The best may lie off this round's grid; it is then the middle of the next all the same.
      const double best = search.best().at[a];
      if (std::find(grid[a].begin(), grid[a].end(), best) == grid[a].end()) {
        grid[a].push_back(best);
        std::sort(grid[a].begin(), grid[a].end());
      }
      grid[a] = around(grid[a], best);
    }
  }
  print(search);
  std::printf("best: --crf %s %s\n", flags.crf.preset.c_str(),
              flags_of(search.base(), search.best().at).c_str());
  if (!flags.common.json.empty()) io::write_text(flags.common.json, json_of(search), "crf_tune");
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  flags.crf.preset = "v2";
  CLI::App app(
      "Searches the dense CRF's parameters for the best mIoU on a validation set: a grid of the appearance "
      "term's weight and deviations, then finer ones around the best.");
  add_data(app, flags.data);
  add_split(app, flags.split);
  app.add_option("--images", flags.images, "Only the first N images (default: all)")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--bilateral-weights", flags.weights, "Weights of the appearance term to start with")
      ->capture_default_str();
  app.add_option("--bilateral-sigmas-xy", flags.sigma_xy, "Its deviations of places, pixels")
      ->capture_default_str();
  app.add_option("--bilateral-sigmas-rgb", flags.sigma_rgb, "Its deviations of colours, 0..255")
      ->capture_default_str();
  app.add_option("--gaussian-weights", flags.gaussian_weights,
                 "Weights of the smoothness term (default: that of --gaussian or --crf)");
  app.add_option("--rounds", flags.rounds, "Grids, each around the best so far with half the steps")
      ->capture_default_str()
      ->check(CLI::Range(1, 10));
  flags.segment.add_network_to(app);
  flags.crf.add_presets_to(app, "default: v2");
  flags.common.add_run(app);
  flags.common.add_json(app);
  flags.common.add_ignore_label(app);
  return run(app, argc, argv, [&] { tune(flags); });
}
