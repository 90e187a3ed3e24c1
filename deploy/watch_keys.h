#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "router/yaml_node.h"

namespace portico {

/// One key after the other of a map that says what is watched, and what is expected.
class WatchKeys {
 public:
  static constexpr absl::Duration kMaxTime = absl::Hours(24);

  WatchKeys(const YamlNode& from, std::string subject) : from_(from), subject_(std::move(subject)) {}

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
    if (*time == absl::Floor(*time, absl::Milliseconds(1)) && *time >= least && *time <= kMaxTime) {
      return absl::OkStatus();
    }
    return value->Error(absl::StrCat(Of(key), ": got ", absl::FormatDuration(*time), ", want whole milliseconds, ",
                                     absl::FormatDuration(least), " to ", absl::FormatDuration(kMaxTime)));
  }

  /// A list of them.
  absl::Status Shares(absl::string_view key, std::vector<float>* shares) const {
    const YamlNode* list = from_.Find(key);
    if (list == nullptr) return absl::OkStatus();
    RETURN_IF_ERROR(list->CheckList(Of(key)));
    shares->clear();
    for (const YamlNode& item : list->items()) {
      ASSIGN_OR_RETURN(const double share, ShareOf(item, Of(key)));
      shares->push_back(static_cast<float>(share));
    }
    return absl::OkStatus();
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

}  // namespace portico
