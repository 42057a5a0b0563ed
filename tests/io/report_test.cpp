#include "atrous/io/report.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "atrous/core/error.h"
#include "atrous/io/file.h"
#include "tests/support/catch.h"
#include "tests/support/test_files.h"

namespace atrous::tests {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// A sample of 6x4 pixels: three of four rows are predicted right.
io::ReportSample small_sample(const std::string& name) {
  io::ReportSample sample{name, Tensor::full({1, 4, 6, 3}, 90, Dtype::u8),
                          Tensor::zeros({1, 4, 6}, Dtype::u8), Tensor::zeros({1, 4, 6}, Dtype::u8)};
  std::fill_n(sample.prediction.span<std::uint8_t>().data(), 6, std::uint8_t(2));
  return sample;
}

io::RunReport example() {
  io::RunReport report;
  report.title = "deeplab_v3plus_mobilenet_v2";
  report.subtitle = "three classes";
  report.facts = {{"mean IoU", "61.7%"}, {"parameters", "5,816,053"}};
  report.recipe = {{"--lr", "0.007"}, {"--crop", "257"}};
  for (int i = 1; i <= 40; ++i) {
    report.loss.push_back({i, 2.0 / i});
    report.learning_rate.push_back({i, 0.007 * (1 - i / 40.0)});
    if (i % 20 == 0) report.miou.push_back({i, 0.01 * i});
  }
  report.class_iou = {0.8126, 0.421, kNaN};
  report.confusion = {812345, 187655, 0, 300, 700, 0, 0, 0, 0};
  report.colormap = {{{"road", {128, 64, 128}}, {"sky", {70, 130, 180}}, {"zebra", {0, 0, 0}}},
                     {255, 255, 255}};
  report.samples.push_back(small_sample("street_01"));
  return report;
}

std::string page(const io::RunReport& report) {
  const TemporaryFolder folder;
  io::write_report(folder.file("report.html"), report);
  const Bytes bytes = file_bytes(folder.file("report.html"));
  return std::string(bytes.begin(), bytes.end());
}

std::int64_t count(const std::string& text, const std::string& part) {
  std::int64_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

/// Whole, self-contained, and no number that is none got into it.
void check_page(const std::string& html) {
  CHECK(html.starts_with("<!DOCTYPE html>"));
  CHECK(html.ends_with("</html>\n"));
  for (const char* outside : {"http://", "https://", "<script", "<link", "@import", "url(", "src='/"})
    CHECK(count(html, outside) == 0);
  for (const char* element : {"svg", "g", "div", "section", "table", "tr", "td", "figure", "p", "text"})
    CHECK(count(html, "<" + std::string(element) + " ") + count(html, "<" + std::string(element) + ">") ==
          count(html, "</" + std::string(element) + ">"));
  for (const char* bad : {"nan%", "inf%", "NaN%", "'nan", "'inf", "Lnan", "nan ", "inf "})
    CHECK(count(html, bad) == 0);
}

}  // namespace

TEST_CASE("write_report: the page has every name and number", "[io][report]") {
  const std::string html = page(example());
  check_page(html);
  for (const char* text : {"deeplab_v3plus_mobilenet_v2",
                           "three classes",
                           "mean IoU",
                           "61.7%",
                           "5,816,053",
                           "--lr",
                           "0.007",
                           "road",
                           "sky",
                           "zebra",
                           "81.3",
                           "42.1",
                           "61.7",
                           "absent",
                           "street_01",
                           "75.0% of the pixels right",
                           "Mean IoU",
                           "road taken for sky: 18.8% (187,655 pixels)",
                           "#804080",
                           "step 20: 20.0%",
                           "Largest mistakes"}) {
    INFO(text);
    CHECK(count(html, text) > 0);
  }
  CHECK(count(html, "data:image/png;base64,iVBORw0KGgo") == 3);
  CHECK(html.find("prefers-color-scheme: dark") != std::string::npos);
}

TEST_CASE("write_report: equal reports give equal bytes", "[io][report]") {
  CHECK(page(example()) == page(example()));
}

TEST_CASE("write_report escapes every text", "[io][report]") {
  const std::string evil = "<script>'\"&</script>";
  io::RunReport report = example();
  report.title = report.subtitle = evil;
  report.facts = report.recipe = {{evil, evil}};
  report.samples[0].name = evil;
  for (io::ClassColor& one : report.colormap.classes) one.name = evil;
  const std::string html = page(report);
  check_page(html);
  CHECK(count(html, "&lt;script&gt;&#39;&quot;&amp;&lt;/script&gt;") >= 12);
  // A name cut short in the matrix is cut before it is escaped, and between characters.
  report.colormap.classes[0].name = "ÄÖÜäöüßÄÖÜäöü<&>";
  CHECK(count(page(report), "ÄÖÜäöüßÄÖÜäöü…") > 0);
}

TEST_CASE("write_report: what is missing leaves a whole page", "[io][report]") {
  check_page(page({}));

  io::RunReport report = example();
  report.loss = {{7, 2.5}};
  report.learning_rate = {{7, kNaN}};
  report.miou = {{7, 0.5}};
  report.class_iou = {kNaN, kNaN, kNaN};
  report.confusion.assign(9, 0);
  report.colormap = {};
  report.samples[0].prediction = {};
  std::string html = page(report);
  check_page(html);
  CHECK(count(html, "step 7: 2.5") == 1);
  CHECK(count(html, "1 not finite") == 1);
  CHECK(count(html, "Mean IoU") == 0);  // one evaluation is no curve
  CHECK(count(html, "absent") == 3);
  CHECK(count(html, "class_2") > 0);

  // A diverged run: the curve stops, the page stands.
  report.loss.clear();
  for (int i = 0; i < 300; ++i)
    report.loss.push_back({i, i < 100    ? 1.0 + i % 3
                              : i < 200  ? std::pow(10.0, i)
                              : i == 250 ? HUGE_VAL
                                         : kNaN});
  html = page(report);
  check_page(html);
  CHECK(count(html, "200 not finite") == 1);
  for (const double constant : {0.0, -3.0, 1e-12, 1e29}) {
    report.loss.assign(9, {5, constant});
    check_page(page(report));
  }
}

TEST_CASE("write_report thins long curves and many classes", "[io][report]") {
  io::RunReport report;
  for (int i = 0; i < 60000; ++i) {
    report.loss.push_back({i, 1 + 0.1 * std::sin(i * 0.7)});
    report.learning_rate.push_back({i, 1e-5});
  }
  report.loss[31234].value = 2.9;  // one spike
  const std::string html = page(report);
  check_page(html);
  CHECK(html.size() < 200000);
  CHECK(count(html, "to 2.9") == 1);  // named, though it is beyond the axis
  CHECK(count(html, "peaks cut off at the top") == 1);
  CHECK(count(html, "50k") == 2);

  report.class_iou.assign(150, 0.5);
  report.confusion.assign(150 * 150, 0);
  for (std::size_t i = 0; i < 150; ++i) report.confusion[i * 151] = 10;
  const std::string many = page(report);
  check_page(many);
  CHECK(count(many, "class_149 found: 100.0%") == 1);
  CHECK(count(many, "class='number") == 0);
}

TEST_CASE("write_report refuses what does not fit, and writes nothing", "[io][report]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("report.html");
  io::RunReport report = example();
  report.confusion.pop_back();
  CHECK_THROWS_AS(io::write_report(path, report), ShapeError);
  report.confusion.resize(4);
  CHECK_THROWS_AS(io::write_report(path, report), ShapeError);
  report = example();
  report.samples[0].truth = Tensor::zeros({1, 4, 5}, Dtype::u8);
  CHECK_THROWS_AS(io::write_report(path, report), ShapeError);
  report.samples[0].truth = Tensor::zeros({1, 4, 6}, Dtype::f32);
  CHECK_THROWS_AS(io::write_report(path, report), DtypeError);
  report = example();
  report.samples[0].image = Tensor::zeros({1, 4, 6}, Dtype::u8);
  CHECK_THROWS_AS(io::write_report(path, report), ShapeError);
  CHECK_THROWS_AS(io::read_bytes(path, "test"), IoError);
  CHECK_THROWS_AS(io::write_report(folder.file("none/report.html"), example()), IoError);
}

}  // namespace atrous::tests
