#include "deploy/cascade_watch_reader.h"

#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace portico {
namespace {

/// One key after the other of a map.
class Keys {
 public:
  Keys(const YamlNode& from, std::string subject) : from_(from), subject_(std::move(subject)) {}

  const std::string& subject() const { return subject_; }

  /// "12%", "0.5%".
  absl::Status Share(absl::string_view key, double* share) const {
    const YamlNode* value = from_.Find(key);
    if (value == nullptr) return absl::OkStatus();
    ASSIGN_OR_RETURN(*share, ShareOf(*value, Of(key)));
    return absl::OkStatus();
  }
  static absl::StatusOr<double> ShareOf(const YamlNode& value, const std::string& subject) {
    ASSIGN_OR_RETURN(const std::string text, value.Text(subject));
    absl::string_view number = text;
    double percent = 0;
    if (absl::ConsumeSuffix(&number, "%") && absl::SimpleAtod(number, &percent) && percent >= 0 && percent <= 100) {
      return percent / 100;
    }
    return value.Error(absl::StrCat(subject, ": got '", text, "', want a share from 0% to 100%, such as 1%"));
  }

  absl::Status Time(absl::string_view key, absl::Duration least, absl::Duration* time) const {
    const YamlNode* value = from_.Find(key);
    if (value == nullptr) return absl::OkStatus();
    ASSIGN_OR_RETURN(*time, value->Duration(Of(key)));
    if (*time == absl::Floor(*time, absl::Milliseconds(1)) && *time >= least && *time <= CascadeWatch::kMaxTime) {
      return absl::OkStatus();
    }
    return value->Error(absl::StrCat(Of(key), ": got ", absl::FormatDuration(*time), ", want whole milliseconds, ",
                                     absl::FormatDuration(least), " to ",
                                     absl::FormatDuration(CascadeWatch::kMaxTime)));
  }

  absl::Status Number(absl::string_view key, double* number) const {
    const YamlNode* value = from_.Find(key);
    if (value == nullptr) return absl::OkStatus();
    ASSIGN_OR_RETURN(const std::string text, value->Text(Of(key)));
    if (absl::SimpleAtod(text, number) && std::isfinite(*number) && *number >= 0) return absl::OkStatus();
    return value->Error(absl::StrCat(Of(key), ": got '", text, "', want a number from 0 on"));
  }

  absl::Status Names(absl::string_view key, std::vector<std::string>* names) const {
    const YamlNode* list = from_.Find(key);
    if (list == nullptr) return absl::OkStatus();
    RETURN_IF_ERROR(list->CheckList(Of(key)));
    names->clear();
    for (const YamlNode& item : list->items()) {
      ASSIGN_OR_RETURN(names->emplace_back(), item.Text(Of(key)));
    }
    return absl::OkStatus();
  }

  std::string Of(absl::string_view key) const { return absl::StrCat(subject_, ": ", key); }

 private:
  const YamlNode& from_;
  const std::string subject_;
};

absl::Status ReadAudit(const YamlNode& from, const std::string& subject, CascadeWatch* watch) {
  if (from.kind() == YamlNode::Kind::kText) {
    ASSIGN_OR_RETURN(watch->audit, Keys::ShareOf(from, subject));
    return absl::OkStatus();
  }
  const Keys keys(from, subject);
  RETURN_IF_ERROR(from.CheckMap(subject, {"share", "max_in_flight", "timeout", "outputs", "tolerance"}));
  if (from.Find("share") == nullptr) return from.Error(absl::StrCat(keys.Of("share"), ": got none, want one such as 1%"));
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
  const Keys keys(from, subject);
  RETURN_IF_ERROR(
      from.CheckMap(subject, {"escalated", "agreement", "escalated_within", "agreement_within", "over"}));
  RETURN_IF_ERROR(keys.Share("escalated", &watch->expected_escalated));
  RETURN_IF_ERROR(keys.Share("agreement", &watch->expected_agreement));
  RETURN_IF_ERROR(keys.Share("escalated_within", &watch->expected_escalated_within));
  RETURN_IF_ERROR(keys.Share("agreement_within", &watch->expected_agreement_within));
  return keys.Time("over", absl::Seconds(1), &watch->expected_over);
}

absl::Status ReadBrownOut(const YamlNode& from, const std::string& subject, CascadeWatch* watch) {
  const Keys keys(from, subject);
  RETURN_IF_ERROR(from.CheckMap(subject, {"max_shed", "slower_than"}));
  if (from.Find("max_shed") == nullptr) {
    return from.Error(absl::StrCat(keys.Of("max_shed"), ": got none, want the share of the rows that escalate which may "
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
      return expected->Error(absl::StrCat(of("expected"), ": got an agreement and no 'audit', want a share of the rows "
                                                          "to audit, such as 1%, which is how agreement is measured"));
    }
  }
  if (const YamlNode* brown_out = from.Find("brown_out")) {
    RETURN_IF_ERROR(ReadBrownOut(*brown_out, of("brown_out"), watch));
  }
  return absl::OkStatus();
}

}  // namespace portico
