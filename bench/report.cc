#include "bench/report.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace portico::bench {
namespace {

std::string Aim(const Figure& figure) {
  if (figure.at_most == 0 && figure.at_least == 0) return "";
  return absl::StrCat(
      figure.at_most != 0 ? absl::StrFormat("<= %g", figure.at_most) : absl::StrFormat(">= %g", figure.at_least),
      figure.aim_on_ratio ? "x" : "");
}

}  // namespace

void Report::Add(Figure figure) {
  if (figure.baseline != 0 && figure.ratio == 0) figure.ratio = figure.value / figure.baseline;
  if (figures_.empty()) {
    std::printf("%-44s %12s %-8s %12s %7s  %s\n", "figure", "value", "unit", "baseline", "ratio", "aim");
  }
  const std::string aim = Aim(figure);
  std::printf("%-44s %12.2f %-8s %12.2f %7.2f  %s%s\n", figure.name.c_str(), figure.value, figure.unit.c_str(),
              figure.baseline, figure.ratio, aim.c_str(),
              aim.empty()    ? ""
              : figure.met() ? " met"
                             : " MISSED");
  std::fflush(stdout);
  figures_.push_back(std::move(figure));
}

std::string Report::Json() const {
  std::string out;
  for (const Figure& f : figures_) {
    absl::StrAppendFormat(&out,
                          R"({"name":"%s","value":%.6g,"unit":"%s","baseline":%.6g,"ratio":%.4g,"aim":"%s","met":%s})",
                          f.name, f.value, f.unit, f.baseline, f.ratio, Aim(f), f.met() ? "true" : "false");
    out += '\n';
  }
  return out;
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<long>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace portico::bench
