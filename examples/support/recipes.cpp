#include "examples/support/recipes.h"

#include "examples/support/program.h"

namespace atrous::examples {
namespace {

// The papers' protocols for PASCAL VOC. What they do not state is what their released code does.
struct NamedRecipe {
  const char* name;
  Recipe flags;
};

// Chen et al., arXiv 1706.05587, section 4.1, first stage (the second: --output-stride 8 --freeze-bn --lr
// 0.001
// --init the first); biases and steps of the scale from the released code, and the weight decay, which goes
// by the backbone.
Recipe protocol_of_v3(const char* weight_decay) {
  return {{"--crop", "513"},        {"--batch", "16"},        {"--steps", "30000"},
          {"--optimizer", "sgd"},   {"--lr", "0.007"},        {"--policy", "poly"},
          {"--power", "0.9"},       {"--momentum", "0.9"},    {"--weight-decay", weight_decay},
          {"--bias-lr", "2"},       {"--bn-decay", "0.9997"}, {"--scale-range", "0.5,2.0"},
          {"--scale-step", "0.25"}, {"--loss-at", "image"},   {"--hard-fraction", "1"}};
}

const std::vector<NamedRecipe>& recipes() {
  static const std::vector<NamedRecipe> all = {
      // Chen et al., ICLR 2015, section 4: batch 20, rate divided by ten every 2000 steps, ten times the rate
      // for the classifier; from the released solver: doubled for biases, labels on the logits' grid.
      {"deeplab_v1",
       {{"--crop", "321"},
        {"--batch", "20"},
        {"--steps", "6000"},
        {"--optimizer", "sgd"},
        {"--lr", "0.001"},
        {"--policy", "step"},
        {"--step-every", "2000"},
        {"--step-factor", "0.1"},
        {"--momentum", "0.9"},
        {"--weight-decay", "0.0005"},
        {"--logits-lr", "10"},
        {"--bias-lr", "2"},
        {"--scale-range", "1,1"},
        {"--scale-step", "0"},
        {"--loss-at", "logits"},
        {"--hard-fraction", "1"}}},
      // Chen et al., TPAMI 2018, sections 4.1 and 4.1.2, for ResNet-101 (for VGG-16 the rate is 0.001): poly
      // policy, batch norms as they came; from the released files: five scales, labels on the logits' grid.
      {"deeplab_v2",
       {{"--crop", "321"},
        {"--batch", "10"},
        {"--steps", "20000"},
        {"--optimizer", "sgd"},
        {"--lr", "0.00025"},
        {"--policy", "poly"},
        {"--power", "0.9"},
        {"--momentum", "0.9"},
        {"--weight-decay", "0.0005"},
        {"--logits-lr", "10"},
        {"--bias-lr", "2"},
        {"--freeze-bn", "true"},
        {"--bn-lr", "0"},
        {"--scale-range", "0.5,1.5"},
        {"--scale-step", "0.25"},
        {"--loss-at", "logits"},
        {"--hard-fraction", "1"}}},
      // The released code's weight decay for ResNet.
      {"deeplab_v3", protocol_of_v3("0.0001")},
      // Chen et al., ECCV 2018, section 4: the protocol of v3; the released code's decay for Xception.
      {"deeplab_v3plus", protocol_of_v3("0.00004")},
      // Sandler et al., CVPR 2018, section 6.3: the protocol of v3 on MobileNetV2, without atrous branches.
      {"mobile", protocol_of_v3("0.00004")},
  };
  return all;
}

const NamedRecipe* find(const std::string& name) {
  for (const NamedRecipe& recipe : recipes())
    if (name == recipe.name || "deeplab_" + name == recipe.name) return &recipe;
  return nullptr;
}

}  // namespace

Recipe named_recipe(const std::string& name) {
  const NamedRecipe* recipe = find(name);
  if (!recipe) throw UsageError("--recipe: " + check_recipe(name));
  return recipe->flags;
}

std::string recipe_names() {
  std::string text;
  for (const NamedRecipe& recipe : recipes()) text += (text.empty() ? "" : ", ") + std::string(recipe.name);
  return text;
}

std::string check_recipe(const std::string& name) {
  return find(name) ? "" : "unknown recipe \"" + name + "\"; known are " + recipe_names();
}

std::string text_of(const Recipe& recipe) {
  std::string text;
  for (const auto& [flag, value] : recipe) text += flag + " " + value + "\n";
  return text;
}

}  // namespace atrous::examples
