#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "atrous/core/span.h"
#include "atrous/io/colormap.h"

// The small change of report.cpp: text, numbers, colours and pictures as HTML. Numbers never depend on the
// locale. Attributes are quoted with ' throughout, which escape_html() covers.

namespace atrous::io {

/// Appends the pieces.
void put(std::string& html, std::initializer_list<std::string_view> pieces);

/// The text with & < > " ' replaced, fit for an element or an attribute. Control characters become spaces.
std::string escape_html(std::string_view text);
/// The first `characters` characters (of UTF-8), with an ellipsis if some were cut.
std::string shortened(std::string_view text, std::int64_t characters);
/// Characters of UTF-8.
std::int64_t character_count(std::string_view text);

/// "12.50"; a minus sign only in front of what is not zero.
std::string fixed(double value, int decimals);
/// To `digits` significant digits, in the shorter of the usual and the scientific form: "0.0071", "3e-5".
std::string significant(double value, int digits);
/// "12,345".
std::string grouped(std::int64_t value);
/// A share 0..1 in per cent, with one decimal and without the sign; "–" if it is not finite.
std::string percent(double share);
/// "12.5%" out of a share 0..1, for positions and sizes in SVG and CSS.
std::string position(double share);

/// "#8040c0".
std::string hex_color(Rgb color);
/// Colour and (unescaped) name of a class, also beyond the end of the map.
Rgb class_color(const Colormap& map, std::int64_t index);
std::string class_name(const Colormap& map, std::int64_t index);
/// A small square in the colour of a class.
std::string swatch(Rgb color);

std::string base64(Span<const std::uint8_t> bytes);

/// The style sheet of the page (report_style.cpp).
std::string_view report_style();

}  // namespace atrous::io
