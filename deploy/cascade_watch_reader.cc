#include "deploy/cascade_watch_reader.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "deploy/watch_keys.h"

namespace portico {
namespace {

absl::Status ReadAudit(const YamlNode& from, const std::string& subject, CascadeWatch* watch) {
  if (from.kind() == YamlNode::Kind::kText) {
    ASSIGN_OR_RETURN(watch->audit, WatchKeys::ShareOf(from, subject));
    return absl::OkStatus();
  }
  const WatchKeys keys(from, subject);
  RETURN_IF_ERROR(from.CheckMap(subject, {"share", "max_in_flight", "timeout", "outputs", "tolerance"}));
  if (from.Find("share") == nullptr)
    return from.Error(absl::StrCat(keys.Of("share"), ": got none, want one such as 1%"));
  RETURN_IF_ERROR(keys.Share("share", &watch->audit));
  if (const YamlNode* most = from.Find("max_in_flight")) {
    ASSIGN_OR_RETURN(watch->audit_max_in_flight,
                     most->Integer(keys.Of("max_in_flight"), 1, CascadeWatch::kMaxInFlight));
  }
  RETURN_IF_ERROR(keys.Time("timeout", absl::Milliseconds(1), &watch->audit_timeout));
  RETURN_IF_ERROR(keys.Names("outputs", &watch->agreement_outputs));
  return keys.Number("tolerance", &watch->agreement_tolerance);
}

absl::Status ReadExpected(const YamlNode& from, const std::string& subject, CascadeWatch* watch) {
  const WatchKeys keys(from, subject);
  RETURN_IF_ERROR(from.CheckMap(subject, {"escalated", "agreement", "escalated_within", "agreement_within", "over"}));
  RETURN_IF_ERROR(keys.Share("escalated", &watch->expected_escalated));
  RETURN_IF_ERROR(keys.Share("agreement", &watch->expected_agreement));
  RETURN_IF_ERROR(keys.Share("escalated_within", &watch->expected_escalated_within));
  RETURN_IF_ERROR(keys.Share("agreement_within", &watch->expected_agreement_within));
  return keys.Time("over", absl::Seconds(1), &watch->expected_over);
}

absl::Status ReadBrownOut(const YamlNode& from, const std::string& subject, CascadeWatch* watch) {
  const WatchKeys keys(from, subject);
  RETURN_IF_ERROR(from.CheckMap(subject, {"max_shed", "slower_than"}));
  if (from.Find("max_shed") == nullptr) {
    return from.Error(absl::StrCat(keys.Of("max_shed"),
                                   ": got none, want the share of the rows that escalate which may "
                                   "keep the cheap answer, such as 50%"));
  }
  RETURN_IF_ERROR(keys.Share("max_shed", &watch->max_shed));
  return keys.Time("slower_than", absl::ZeroDuration(), &watch->slower_than);
}

}  // namespace

absl::Status ReadCascadeWatchKeys(const YamlNode& from, const std::string& subject, CascadeWatch* watch) {
  const auto of = [&](absl::string_view key) { return absl::StrCat(subject, ": ", key); };
  if (const YamlNode* audit = from.Find("audit")) RETURN_IF_ERROR(ReadAudit(*audit, of("audit"), watch));
  if (const YamlNode* expected = from.Find("expected")) {
    RETURN_IF_ERROR(ReadExpected(*expected, of("expected"), watch));
    if (watch->expected_agreement >= 0 && watch->audit == 0) {
      return expected->Error(absl::StrCat(of("expected"),
                                          ": got an agreement and no 'audit', want a share of the rows "
                                          "to audit, such as 1%, which is how agreement is measured"));
    }
  }
  if (const YamlNode* brown_out = from.Find("brown_out")) {
    RETURN_IF_ERROR(ReadBrownOut(*brown_out, of("brown_out"), watch));
  }
  return absl::OkStatus();
}

}  // namespace portico
