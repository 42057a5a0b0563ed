#include "atrous/io/report_html.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace atrous::io {
namespace {

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

}  // namespace

void put(std::string& html, std::initializer_list<std::string_view> pieces) {
  for (const std::string_view piece : pieces) html += piece;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    }
  }
  return out;
}

std::int64_t character_count(std::string_view text) {
  std::int64_t count = 0;
  for (const char c : text) count += !continues_character(c);
  return count;
}

std::string shortened(std::string_view text, std::int64_t characters) {
  if (character_count(text) <= characters) return std::string(text);
  std::size_t end = 0;
  for (std::int64_t count = 0; end < text.size(); ++end)
    if (!continues_character(text[end]) && ++count == characters) break;
  return std::string(text.substr(0, end)) + "…";
}

std::string fixed(double value, int decimals) {
  char digits[400];  // 1e308 has 309 digits
  const auto end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed, decimals);
  std::string text(digits, end.ptr);
  if (text[0] == '-' && text.find_first_of("123456789") == std::string::npos) text.erase(0, 1);
  return text;
}

std::string significant(double value, int digits) {
  if (!std::isfinite(value)) return std::isnan(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  if (value == 0) return "0";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, digits);
  std::string text(buffer, end.ptr);
  const std::size_t exponent = text.find('e');
  if (exponent == std::string::npos) return text;
  // "3e-05" and "2e+07" as "3e-5" and "2e7".
  std::string power = text.substr(exponent + 2);
  power.erase(0, power.find_first_not_of('0'));
  return text.substr(0, exponent + 1) + (text[exponent + 1] == '-' ? "-" : "") + power;
}

std::string grouped(std::int64_t value) {
  std::string text = std::to_string(value);
  const std::int64_t first = value < 0 ? 1 : 0;
  for (std::int64_t at = std::int64_t(text.size()) - 3; at > first; at -= 3)
    text.insert(std::size_t(at), 1, ',');
  return text;
}

std::string percent(double share) { return std::isfinite(share) ? fixed(100 * share, 1) : "–"; }

std::string position(double share) { return significant(std::round(share * 1e5) / 1e3, 6) + "%"; }

std::string hex_color(Rgb color) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "#";
  for (const std::uint8_t v : {color.r, color.g, color.b}) {
    text += kDigits[v >> 4];
    text += kDigits[v & 15];
  }
  return text;
}

Rgb class_color(const Colormap& map, std::int64_t index) {
  return index < map.size() ? map.classes[std::size_t(index)].color : voc_color(index % 256);
}

std::string class_name(const Colormap& map, std::int64_t index) {
  return index < map.size() ? map.classes[std::size_t(index)].name : "class_" + std::to_string(index);
}

std::string swatch(Rgb color) { return "<i class='swatch' style='background:" + hex_color(color) + "'></i>"; }

std::string base64(Span<const std::uint8_t> bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve(std::size_t((bytes.size() + 2) / 3 * 4));
  for (std::int64_t i = 0; i < bytes.size(); i += 3) {
    const std::int64_t count = std::min<std::int64_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::int64_t k = 0; k < 3; ++k) group = group << 8 | (k < count ? bytes[i + k] : 0u);
    for (std::int64_t k = 0; k < 4; ++k) text += k <= count ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace atrous::io
