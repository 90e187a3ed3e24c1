#include "models/graph/experts_watch.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/graph/portal_attributes.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// How far from 1 loads may add up to: they were written with a few digits.
constexpr double kSumWithin = 0.01;

absl::Status CheckShare(absl::string_view what, double share, bool may_be_unknown) {
  if ((share >= 0 && share <= 1) || (may_be_unknown && share == -1)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("'", what, "': got ", share, ", want a share from 0 to 1"));
}

}  // namespace

double ExpertsWatch::LoadWithin(size_t expert) const {
  return load_within >= 0 ? load_within : std::max(static_cast<double>(load[expert]) / 4, 0.01);
}

absl::Status ExpertsWatch::Check(size_t experts, absl::string_view prefix) const {
  if (!load.empty() && load.size() != experts) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", prefix, "load': got ", load.size(), " shares, want ", experts, ", one for each expert"));
  }
  for (const float share : load) RETURN_IF_ERROR(CheckShare(absl::StrCat(prefix, "load"), share, false));
  if (const double sum = std::accumulate(load.begin(), load.end(), 0.0);
      !load.empty() && std::abs(sum - 1) > kSumWithin) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", prefix, "load': got shares that add up to ", sum, ", want 1: all the rows that are sent"));
  }
  RETURN_IF_ERROR(CheckShare(absl::StrCat(prefix, "load_within"), load_within, true));
  RETURN_IF_ERROR(CheckShare(absl::StrCat(prefix, "entropy"), entropy, true));
  RETURN_IF_ERROR(CheckShare(absl::StrCat(prefix, "entropy_within"), entropy_within, false));
  if (over >= absl::Seconds(1) && over <= kMaxTime) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("'", prefix, "over': got ", absl::FormatDuration(over),
                                                 ", want 1s to ", absl::FormatDuration(kMaxTime)));
}

absl::StatusOr<ExpertsWatch> ReadExpertsWatch(const onnx::NodeProto& node, size_t experts) {
  ExpertsWatch watch;
  ASSIGN_OR_RETURN(watch.load, FloatsAttribute(node, "expected_load"));
  ASSIGN_OR_RETURN(watch.load_within, FloatAttribute(node, "expected_load_within", -1));
  ASSIGN_OR_RETURN(watch.entropy, FloatAttribute(node, "expected_entropy", -1));
  ASSIGN_OR_RETURN(watch.entropy_within,
                   FloatAttribute(node, "expected_entropy_within", static_cast<float>(ExpertsWatch::kEntropyWithin)));
  ASSIGN_OR_RETURN(const int64_t over_ms,
                   IntAttribute(node, "expected_over_ms", absl::ToInt64Milliseconds(watch.over)));
  watch.over = absl::Milliseconds(over_ms);
  if (absl::Status sane = watch.Check(experts); !sane.ok()) return WithContext("attribute", sane);
  return watch;
}

}  // namespace portico
