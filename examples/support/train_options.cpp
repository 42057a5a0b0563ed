#include "examples/support/train_options.h"

#include <charconv>
#include <cstdlib>

#include "examples/support/recipes.h"

namespace atrous::examples {
namespace {

std::string text_of(double value) {
  char buffer[64];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr};
}
std::string text_of(std::int64_t value) { return std::to_string(value); }
std::string text_of(std::uint64_t value) { return std::to_string(value); }
std::string text_of(bool value) { return value ? "true" : "false"; }
const std::string& text_of(const std::string& value) { return value; }

void read(const std::string& text, double& value) { value = std::strtod(text.c_str(), nullptr); }
void read(const std::string& text, std::int64_t& value) { value = std::strtoll(text.c_str(), nullptr, 10); }
void read(const std::string& text, std::uint64_t& value) { value = std::strtoull(text.c_str(), nullptr, 10); }
void read(const std::string& text, bool& value) { value = text == "true"; }
void read(const std::string& text, std::string& value) { value = text; }

// Every option that decides the result, once: f(flag, member).
template <class Options, class F>
void each(Options& o, F&& f) {
  f("--model", o.common.model);
  f("--classes", o.common.classes);
  f("--output-stride", o.common.output_stride);
  f("--width", o.common.width);
  f("--seed", o.common.seed);
  f("--tf32", o.common.tf32);
  f("--ignore-label", o.common.ignore_label);
  f("--data", o.data);
  f("--crop", o.crop);
  f("--batch", o.batch);
  f("--steps", o.steps);
  f("--optimizer", o.optimizer);
  f("--lr", o.lr);
  f("--policy", o.policy);
  f("--power", o.power);
  f("--step-every", o.step_every);
  f("--step-factor", o.step_factor);
  f("--momentum", o.momentum);
  f("--weight-decay", o.weight_decay);
  f("--logits-lr", o.logits_lr);
  f("--bias-lr", o.bias_lr);
  f("--bn-lr", o.bn_lr);
  f("--freeze-bn", o.freeze_bn);
  f("--bn-decay", o.bn_decay);
  f("--scale-range", o.scale_range);
  f("--scale-step", o.scale_step);
  f("--loss-at", o.loss_at);
  f("--class-weights", o.class_weights);
  f("--hard-fraction", o.hard_fraction);
  f("--init", o.init);
  f("--recipe", o.recipe_name);
}

}  // namespace

void TrainOptions::add_to(CLI::App& app) {
  const CLI::Range count(std::int64_t(1), std::int64_t(1) << 40);
  app.option_defaults()->take_last();  // scripts give defaults, arguments behind them win
  common.add_model(app);
  common.add_run(app);
  common.add_json(app);
  common.add_tf32(app);
  common.add_ignore_label(app);
  app.add_option("--seed", common.seed, "Of weights, scenes, order, augmentation and dropout")
      ->capture_default_str();
  add_data(app, data);
  app.add_option("--out", out, "Folder of the run: checkpoint, log, metrics, report")->capture_default_str();
  app.add_option("--crop", crop, "Side of the training crops in pixels")
      ->capture_default_str()
      ->check(CLI::Range(1, 65535));
  app.add_option("--batch", batch, "Crops a step")->capture_default_str()->check(CLI::Range(1, 65536));
  app.add_option("--steps", steps, "Length of the schedule")->capture_default_str()->check(count);
  app.add_option("--optimizer", optimizer, "sgd (with momentum) or adamw")
      ->capture_default_str()
      ->check(CLI::IsMember({"sgd", "adamw"}));
  app.add_option("--recipe", recipe_name,
                 "A paper's training protocol, for all flags that are not given: " + recipe_names())
      ->check(check_recipe);
  app.add_option("--lr", lr, "Learning rate at step 0")->capture_default_str()->check(CLI::Range(1e-12, 1e6));
  app.add_option("--policy", policy,
                 "poly: the rate falls as (1 - step/steps)^power; step: by step-factor every so often")
      ->capture_default_str()
      ->check(CLI::IsMember({"poly", "step"}));
  app.add_option("--power", power, "Of the poly policy; 0 keeps the rate constant")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 100.0));
  app.add_option("--step-every", step_every, "Steps between two falls of the step policy")
      ->capture_default_str()
      ->check(count);
  app.add_option("--step-factor", step_factor, "Of each fall of the step policy")
      ->capture_default_str()
      ->check(CLI::Range(1e-6, 1.0));
  app.add_option("--momentum", momentum, "Of sgd")->capture_default_str()->check(CLI::Range(0.0, 0.9999));
  app.add_option("--weight-decay", weight_decay,
                 "On convolution weights; not on depthwise weights, batch norm and biases")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--logits-lr", logits_lr, "Multiplier of the rate for the layers that make the logits")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1000.0));
  app.add_option("--bias-lr", bias_lr, "Multiplier of the rate for biases, on top of the others")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1000.0));
  app.add_option("--bn-lr", bn_lr, "Multiplier of the rate for batch norms' gamma and beta; 0 keeps them")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1000.0));
  app.add_flag("--freeze-bn", freeze_bn, "Normalise by the running statistics and leave them");
  app.add_option("--bn-decay", bn_decay, "Of the running statistics (default: the model's)")
      ->check(CLI::Range(0.0, 0.99999));
  app.add_option("--scale-range", scale_range, "Random scale of the augmentation: low,high")
      ->capture_default_str();
  app.add_option("--scale-step", scale_step, "Draw scales in steps of this from low; 0 draws any")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 8.0));
  app.add_option(
         "--loss-at", loss_at,
         "image: logits are brought to the labels' size; logits: labels to the logits', nearest pixel")
      ->capture_default_str()
      ->check(CLI::IsMember({"image", "logits"}));
  app.add_option("--class-weights", class_weights,
                 "auto (median frequency of the training labels) or a file with a number a line");
  app.add_option("--hard-fraction", hard_fraction,
                 "Share of the pixels, hardest first, that the loss is taken over")
      ->capture_default_str()
      ->check(CLI::Range(1e-6, 1.0));
  app.add_option("--init", init, "Weights to start from; layers of another number of classes start anew");
  app.add_option("--resume", resume, "Folder of a run to go on with; its recipe is taken over");
  app.add_option("--stop-after", stop_after,
                 "End after this step as if interrupted; the schedule stays that of --steps")
      ->check(count);
  app.add_option("--eval-every", eval_every, "Evaluate after every so many steps, beside the end")
      ->check(count);
}

void TrainOptions::apply_recipe(const CLI::App& app) {
  if (recipe_name.empty()) return;
  const Recipe values = named_recipe(recipe_name);
  each(*this, [&](const char* flag, auto& value) {
    for (const auto& [name, text] : values)
      if (name == flag && app.get_option(flag)->count() == 0) read(text, value);
  });
}

void TrainOptions::check() const {
  const auto range = parse_numbers("--scale-range", scale_range);
  if (range.size() != 2 || range[0] > range[1])
    throw UsageError("--scale-range: \"" + scale_range + "\" is not low,high with low <= high");
  parse_ignore_label(common.ignore_label);
}

Recipe TrainOptions::recipe() const {
  Recipe result;
  each(*this, [&](const char* flag, const auto& value) { result.emplace_back(flag, text_of(value)); });
  return result;
}

void TrainOptions::adopt(const Recipe& recipe, const CLI::App& app) {
  each(*this, [&](const char* flag, auto& value) {
    for (const auto& [name, text] : recipe) {
      if (name != flag) continue;
      if (app.get_option(flag)->count() > 0 && text_of(value) != text)
        throw UsageError(std::string(flag) + ": " + text_of(value) + " was given, the run to resume has " +
                         text);
      read(text, value);
    }
  });
}

}  // namespace atrous::examples
