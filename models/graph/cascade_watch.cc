#include "models/graph/cascade_watch.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "models/graph/portal_attributes.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

absl::Status CheckShare(absl::string_view what, double share, bool may_be_unknown) {
  if ((share >= 0 && share <= 1) || (may_be_unknown && share == -1)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("'", what, "': got ", share, ", want a share from 0 to 1"));
}

absl::Status ReadShare(const onnx::NodeProto& node, absl::string_view name, double* share) {
  const auto usual = static_cast<float>(*share);
  ASSIGN_OR_RETURN(const float declared, FloatAttribute(node, name, usual));
  if (declared != usual) *share = declared;
  return absl::OkStatus();
}

absl::Status ReadTime(const onnx::NodeProto& node, absl::string_view name, absl::Duration* time) {
  ASSIGN_OR_RETURN(const int64_t ms, IntAttribute(node, name, absl::ToInt64Milliseconds(*time)));
  *time = absl::Milliseconds(ms);
  return absl::OkStatus();
}

absl::Status CheckTime(absl::string_view what, absl::Duration time, absl::Duration least) {
  if (time >= least && time <= CascadeWatch::kMaxTime) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("'", what, "': got ", absl::FormatDuration(time), ", want ",
                                                 absl::FormatDuration(least), " to ",
                                                 absl::FormatDuration(CascadeWatch::kMaxTime)));
}

}  // namespace

double CascadeWatch::EscalatedWithin() const {
  if (expected_escalated_within >= 0) return expected_escalated_within;
  return std::max(expected_escalated / 4, 0.01);
}

absl::Status CascadeWatch::Check() const {
  RETURN_IF_ERROR(CheckShare("audit", audit, false));
  RETURN_IF_ERROR(CheckShare("expected_escalated", expected_escalated, true));
  RETURN_IF_ERROR(CheckShare("expected_agreement", expected_agreement, true));
  RETURN_IF_ERROR(CheckShare("expected_escalated_within", expected_escalated_within, true));
  RETURN_IF_ERROR(CheckShare("expected_agreement_within", expected_agreement_within, false));
  RETURN_IF_ERROR(CheckShare("brown_out_max_shed", max_shed, false));
  RETURN_IF_ERROR(CheckTime("audit_timeout", audit_timeout, absl::Milliseconds(1)));
  RETURN_IF_ERROR(CheckTime("expected_over", expected_over, absl::Seconds(1)));
  RETURN_IF_ERROR(CheckTime("brown_out_slower_than", slower_than, absl::ZeroDuration()));
  if (audit_max_in_flight < 1 || audit_max_in_flight > kMaxInFlight) {
    return absl::InvalidArgumentError(
        absl::StrCat("'audit_max_in_flight': got ", audit_max_in_flight, ", want 1 to ", kMaxInFlight));
  }
  if (!(agreement_tolerance >= 0) || agreement_tolerance > 1e30) {
    return absl::InvalidArgumentError(
        absl::StrCat("'agreement_tolerance': got ", agreement_tolerance, ", want a number from 0 on"));
  }
  if (expected_agreement >= 0 && audit == 0) {
    return absl::InvalidArgumentError(
        "'expected_agreement': got one and no 'audit', want a share of the rows to audit, which is how agreement is "
        "measured");
  }
  return absl::OkStatus();
}

absl::StatusOr<CascadeWatch> ReadCascadeWatch(const onnx::NodeProto& node) {
  CascadeWatch watch;
  RETURN_IF_ERROR(ReadShare(node, "audit", &watch.audit));
  ASSIGN_OR_RETURN(watch.audit_max_in_flight, IntAttribute(node, "audit_max_in_flight", watch.audit_max_in_flight));
  RETURN_IF_ERROR(ReadTime(node, "audit_timeout_ms", &watch.audit_timeout));
  ASSIGN_OR_RETURN(watch.agreement_outputs, StringsAttribute(node, "agreement_outputs"));
  RETURN_IF_ERROR(ReadShare(node, "agreement_tolerance", &watch.agreement_tolerance));
  RETURN_IF_ERROR(ReadShare(node, "expected_escalated", &watch.expected_escalated));
  RETURN_IF_ERROR(ReadShare(node, "expected_agreement", &watch.expected_agreement));
  RETURN_IF_ERROR(ReadShare(node, "expected_escalated_within", &watch.expected_escalated_within));
  RETURN_IF_ERROR(ReadShare(node, "expected_agreement_within", &watch.expected_agreement_within));
  RETURN_IF_ERROR(ReadTime(node, "expected_over_ms", &watch.expected_over));
  RETURN_IF_ERROR(ReadShare(node, "brown_out_max_shed", &watch.max_shed));
  RETURN_IF_ERROR(ReadTime(node, "brown_out_slower_than_ms", &watch.slower_than));
  if (absl::Status sane = watch.Check(); !sane.ok()) return WithContext("attribute", sane);
  ASSIGN_OR_RETURN(const std::vector<std::string> outputs, StringsAttribute(node, "output_names"));
  for (const std::string& name : watch.agreement_outputs) {
    if (absl::c_linear_search(outputs, name)) continue;
    return absl::InvalidArgumentError(absl::StrCat("attribute 'agreement_outputs': got '", name, "', want some of ",
                                                   absl::StrJoin(outputs, ", "), ", the full model's outputs"));
  }
  return watch;
}

}  // namespace portico
