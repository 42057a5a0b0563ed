#include "atrous/io/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "atrous/core/error.h"
#include "atrous/io/crc32c.h"
#include "atrous/io/safetensors.h"
#include "atrous/io/safetensors_header.h"

namespace atrous::io {
namespace {

using Json = nlohmann::json;
using Texts = std::map<std::string, std::string>;

constexpr const char *kFormat = "atrous.format", *kModel = "atrous.model", *kConvention = "atrous.convention",
                     *kClasses = "atrous.classes", *kWidth = "atrous.width",
                     *kOutputStride = "atrous.output_stride", *kPreprocessing = "atrous.preprocessing",
                     *kBatchNorm = "atrous.batch_norm", *kClassNames = "atrous.class_names",
                     *kColors = "atrous.colors", *kIgnoreColor = "atrous.ignore_color",
                     *kHeadWidth = "atrous.head_width", *kInputChannels = "atrous.input_channels",
                     *kMultiGrid = "atrous.multi_grid", *kAuxiliary = "atrous.auxiliary",
                     *kChecksums = "atrous.crc32c";
// Class names and colours of 65536 classes stay far below.
constexpr std::size_t kMaxJsonText = 1 << 20;
constexpr int kMaxJsonDepth = 3;

Json color_json(Rgb color) { return {color.r, color.g, color.b}; }

/// Reads the fields of one file's metadata; every complaint names the file and the field.
class Fields {
 public:
  Fields(const Texts& texts, const std::string& path) : texts_(texts), path_(path) {}

  template <class... Pieces>
  [[noreturn]] void fail(const Pieces&... pieces) const {
    atrous::fail<IoError>("checkpoint", path_, ": ", pieces...);
  }

  const std::string& text(const char* key) const {
    const auto found = texts_.find(key);
    if (found == texts_.end()) fail("its metadata lack ", key);
    return found->second;
  }

  template <class Number>
  Number number(const char* key, Number low, Number high) const {
    const std::string& value = text(key);
    Number result{};
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
    if (error != std::errc() || end != value.data() + value.size() || !(result >= low && result <= high))
      fail(key, " is ", printable(value), ", not a number in ", low, "..", high);
    return result;
  }

  Json json(const char* key) const {
    const std::string& value = text(key);
    if (value.size() > kMaxJsonText)
      fail(key, " has ", value.size(), " bytes; at most ", kMaxJsonText, " are read");
    const auto shallow = [&](int depth, Json::parse_event_t event, Json&) {
      const bool opens =
          event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
      if (opens && depth >= kMaxJsonDepth) fail(key, " is nested deeper than ", kMaxJsonDepth, " levels");
      return true;
    };
    try {
      return Json::parse(value, shallow);
    } catch (const Json::exception&) {
      fail(key, " is not JSON: ", printable(value));
    }
  }

  /// Runs code that takes a JSON value apart; a value of another kind than it wants is this field's error.
  template <class Take>
  void take(const char* key, const Take& code) const {
    const Json value = json(key);
    bool fits = true;
    try {
      fits = code(value);
    } catch (const Json::exception&) {
      fits = false;
    }
    if (!fits) fail(key, " is ", printable(text(key)), ", which is not what belongs there");
  }

 private:
  const Texts& texts_;
  const std::string& path_;
};

bool take_three(const Json& value, std::array<double, 3>& to) {
  if (!value.is_array() || value.size() != 3) return false;
  for (std::size_t i = 0; i < 3; ++i) {
    if (!value[i].is_number()) return false;
    to[i] = value[i].get<double>();
  }
  return true;
}

bool take_color(const Json& value, Rgb& to) {
  if (!value.is_array() || value.size() != 3) return false;
  for (const Json& part : value)
    if (!part.is_number_unsigned() || part.get<std::uint64_t>() > 255) return false;
  to = {value[0].get<std::uint8_t>(), value[1].get<std::uint8_t>(), value[2].get<std::uint8_t>()};
  return true;
}

bool take_preprocessing(const Json& value, Preprocessing& to) {
  to.name = value.at("name").get<std::string>();
  const std::string order = value.value("order", "rgb");
  if (order != "rgb" && order != "bgr") return false;
  to.bgr = order == "bgr";
  return take_three(value.at("mean"), to.mean) && take_three(value.at("deviation"), to.deviation) &&
         take_three(value.at("pad_color"), to.pad_color) &&
         std::none_of(to.deviation.begin(), to.deviation.end(), [](double d) { return d == 0; });
}

bool take_batch_norm(const Json& value, std::map<std::string, CheckpointInfo::BatchNorm>& to) {
  if (!value.is_object()) return false;
  for (const auto& [part, constants] : value.items()) {
    const CheckpointInfo::BatchNorm read{constants.at("epsilon").get<double>(),
                                         constants.at("decay").get<double>()};
    if (!(read.epsilon >= 0 && read.decay >= 0 && read.decay <= 1)) return false;
    to[part] = read;
  }
  return true;
}

std::string shortest(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::string hex(std::uint32_t value) {
  std::string text(8, '0');
  for (std::size_t i = 0; i < 8; ++i) text[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
  return text;
}

/// The checksums of all tensors, in the order of their names, eight digits each.
std::string checksums(const std::map<std::string, Tensor>& tensors) {
  std::string text;
  for (const auto& [name, tensor] : tensors)
    text += hex(crc32c({static_cast<const std::uint8_t*>(tensor.data()), tensor.bytes()}));
  return text;
}

void check_format(const Fields& fields) {
  const std::int64_t format = fields.number<std::int64_t>(kFormat, 1, INT64_MAX);
  if (format > kCheckpointFormat)
    fields.fail("was written by a newer version of atrous (checkpoint format ", format,
                "); this one reads up to format ", kCheckpointFormat);
}

}  // namespace

std::map<std::string, std::string> checkpoint_metadata(const CheckpointInfo& info) {
  Texts texts = info.extra;
  texts[kFormat] = std::to_string(kCheckpointFormat);
  texts[kModel] = info.model;
  texts[kConvention] = info.convention;
  texts[kClasses] = std::to_string(info.classes);
  texts[kWidth] = shortest(info.width);
  texts[kOutputStride] = std::to_string(info.output_stride);
  if (info.input_channels != 3) texts[kInputChannels] = std::to_string(info.input_channels);
  if (info.head_width != 1) texts[kHeadWidth] = shortest(info.head_width);
  if (!info.multi_grid.empty()) texts[kMultiGrid] = Json(info.multi_grid).dump();
  if (info.auxiliary) texts[kAuxiliary] = "1";
  Json preprocessing = {{"name", info.preprocessing.name},
                        {"mean", info.preprocessing.mean},
                        {"deviation", info.preprocessing.deviation},
                        {"pad_color", info.preprocessing.pad_color}};
  if (info.preprocessing.bgr) preprocessing["order"] = "bgr";
  texts[kPreprocessing] = preprocessing.dump();
  Json batch_norm = Json::object(), names = Json::array(), colors = Json::array();
  for (const auto& [part, constants] : info.batch_norm)
    batch_norm[part] = {{"epsilon", constants.epsilon}, {"decay", constants.decay}};
  for (const ClassColor& one : info.colormap.classes) {
    names.push_back(one.name);
    colors.push_back(color_json(one.color));
  }
  texts[kBatchNorm] = batch_norm.dump();
  texts[kClassNames] = names.dump();
  texts[kColors] = colors.dump();
  texts[kIgnoreColor] = color_json(info.colormap.ignore_color).dump();
  return texts;
}

CheckpointInfo checkpoint_info(const std::map<std::string, std::string>& metadata, const std::string& path) {
  const Fields fields(metadata, path);
  if (!metadata.count(kFormat))
    fields.fail("is a safetensors file, but no atrous checkpoint (its metadata lack ", kFormat,
                "); weights of other programs have to be converted first");
  check_format(fields);
  CheckpointInfo info;
  info.model = fields.text(kModel);
  info.convention = fields.text(kConvention);
  info.classes = fields.number<std::int64_t>(kClasses, 1, 65536);
  info.width = fields.number<double>(kWidth, 1e-3, 16);
  info.output_stride = fields.number<std::int64_t>(kOutputStride, 1, 256);
  if (metadata.count(kInputChannels))
    info.input_channels = fields.number<std::int64_t>(kInputChannels, 1, 1024);
  if (metadata.count(kHeadWidth)) info.head_width = fields.number<double>(kHeadWidth, 1e-3, 16);
  if (metadata.count(kAuxiliary)) info.auxiliary = fields.number<int>(kAuxiliary, 0, 1) == 1;
  if (metadata.count(kMultiGrid))
    fields.take(kMultiGrid, [&](const Json& value) {
      info.multi_grid = value.get<std::vector<std::int64_t>>();
      return info.multi_grid.size() <= 16;
    });
  fields.take(kPreprocessing,
              [&](const Json& value) { return take_preprocessing(value, info.preprocessing); });
  fields.take(kBatchNorm, [&](const Json& value) { return take_batch_norm(value, info.batch_norm); });
  fields.take(kClassNames, [&](const Json& value) {
    for (const std::string& name : value.get<std::vector<std::string>>())
      info.colormap.classes.push_back({name, {}});
    return info.colormap.classes.empty() || info.colormap.size() == info.classes;
  });
  fields.take(kColors, [&](const Json& value) {
    if (!value.is_array() || value.size() != info.colormap.classes.size()) return false;
    for (std::size_t i = 0; i < value.size(); ++i)
      if (!take_color(value[i], info.colormap.classes[i].color)) return false;
    return true;
  });
  if (metadata.count(kIgnoreColor))
    fields.take(kIgnoreColor,
                [&](const Json& value) { return take_color(value, info.colormap.ignore_color); });
  info.extra = metadata;
  for (const char* key :
       {kFormat, kModel, kConvention, kClasses, kWidth, kOutputStride, kPreprocessing, kBatchNorm,
        kClassNames, kColors, kIgnoreColor, kHeadWidth, kInputChannels, kMultiGrid, kAuxiliary, kChecksums})
    info.extra.erase(key);
  return info;
}

void write_checkpoint(const std::string& path, const CheckpointInfo& info,
                      const std::map<std::string, Tensor>& tensors) {
  Texts texts;
  try {
    texts = checkpoint_metadata(info);
    checkpoint_info(texts, path);
    for (const auto& [key, value] : texts) Json(key + value).dump();  // throws unless it is UTF-8
  } catch (const IoError& error) {  // what cannot be read back is a mistake in the info
    throw ValueError(error.what());
  } catch (const Json::exception&) {
    fail<ValueError>("checkpoint", path, ": a text of the info is not UTF-8");
  }
  texts[kChecksums] = checksums(tensors);
  write_safetensors(path, tensors, texts);
}

Checkpoint read_checkpoint(const std::string& path) {
  SafeTensors file = read_safetensors(path);
  Checkpoint checkpoint{checkpoint_info(file.metadata, path), std::move(file.tensors)};
  const auto stored = file.metadata.find(kChecksums);
  if (stored == file.metadata.end()) return checkpoint;
  ATROUS_CHECK(IoError, stored->second.size() == 8 * checkpoint.tensors.size(), "checkpoint", path,
               ": it has ", checkpoint.tensors.size(), " tensors and ", stored->second.size() / 8,
               " checksums");
  const std::string computed = checksums(checkpoint.tensors);
  std::size_t at = 0;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    ATROUS_CHECK(IoError, computed.compare(at, 8, stored->second, at, 8) == 0, "checkpoint", path,
                 ": tensor ", printable(name),
                 " is damaged: its bytes do not fit the checksum that was written with them");
    at += 8;
  }
  return checkpoint;
}

bool is_checkpoint(const std::string& path) {
  const FileReader file(path, "checkpoint");
  return read_safetensors_header(file).metadata.count(kFormat) != 0;
}

}  // namespace atrous::io
