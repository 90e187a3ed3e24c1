#include "models/graph/experts_spec.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "models/graph/portal_attributes.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

constexpr int64_t kMaxAfterMs = 60'000;

/// An integer attribute within bounds.
absl::StatusOr<int> IntWithin(const onnx::NodeProto& node, absl::string_view name, int64_t otherwise, int64_t low,
                              int64_t high) {
  ASSIGN_OR_RETURN(const int64_t value, IntAttribute(node, name, otherwise));
  if (value >= low && value <= high) return static_cast<int>(value);
  return absl::InvalidArgumentError(
      absl::StrCat("attribute '", name, "': got ", value, ", want a number from ", low, " to ", high));
}

/// Which of `words`, of which the first is the default.
template <typename Choice>
absl::StatusOr<Choice> OneOf(const onnx::NodeProto& node, absl::string_view name,
                             std::initializer_list<std::pair<absl::string_view, Choice>> words) {
  ASSIGN_OR_RETURN(const std::string got, StringAttribute(node, name, words.begin()->first));
  for (const auto& [word, choice] : words) {
    if (got == word) return choice;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "attribute '", name, "': got '", got, "', want one of ",
      absl::StrJoin(words, ", ", [](std::string* out, const auto& word) { absl::StrAppend(out, word.first); })));
}

absl::Status ReadTargets(const onnx::NodeProto& node, ExpertsSpec& spec) {
  ASSIGN_OR_RETURN(const std::vector<std::string> targets, StringsAttribute(node, "targets"));
  ASSIGN_OR_RETURN(const std::vector<std::string> digests, StringsAttribute(node, "digests"));
  ASSIGN_OR_RETURN(const std::string target, StringAttribute(node, "target", ""));
  if (!target.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'target': got '", target, "', want none; the experts are in 'targets'"));
  }
  if (targets.empty() || targets.size() > ExpertsSpec::kMaxExperts) {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'targets': got ", targets.size(), " experts, want 1 to ", ExpertsSpec::kMaxExperts));
  }
  if (!digests.empty()) {
    RETURN_IF_ERROR(CheckCount("digests", digests.size(), static_cast<int>(targets.size()), "target"));
  }
  std::set<std::pair<absl::string_view, absl::string_view>> seen;
  for (size_t i = 0; i < targets.size(); ++i) {
    PortalTarget one{targets[i], Digest()};
    if (one.name.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("attribute 'targets': got none at ", i, ", want the name of the servable to call"));
    }
    const absl::string_view digest = digests.empty() ? "" : absl::string_view(digests[i]);
    if (!digest.empty()) {
      auto parsed = Digest::FromHex(digest);
      if (!parsed.ok()) return WithContext(absl::StrCat("attribute 'digests' at ", i), parsed.status());
      one.digest = *parsed;
    }
    if (!seen.emplace(targets[i], digest).second) {
      return absl::InvalidArgumentError(absl::StrCat("attribute 'targets': got '", one.name,
                                                     "' twice, want each expert once; add up its gates in the graph"));
    }
    spec.targets.push_back(std::move(one));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ExpertsSpec> ReadExpertsSpec(const onnx::NodeProto& node) {
  ExpertsSpec spec;
  RETURN_IF_ERROR(ReadTargets(node, spec));
  const int most = std::min<int>(static_cast<int>(spec.targets.size()), ExpertsSpec::kMaxK);
  ASSIGN_OR_RETURN(spec.k, IntWithin(node, "k", 1, 1, most));
  ASSIGN_OR_RETURN(spec.k_min, IntWithin(node, "k_min", spec.k, 1, spec.k));
  ASSIGN_OR_RETURN(const int after_ms, IntWithin(node, "k_min_after_ms", 0, 0, kMaxAfterMs));
  spec.k_min_after = absl::Milliseconds(after_ms);
  ASSIGN_OR_RETURN(spec.weights, OneOf<ExpertWeights>(node, "weights",
                                                      {{"softmax", ExpertWeights::kSoftmax},
                                                       {"renormalize", ExpertWeights::kRenormalize},
                                                       {"none", ExpertWeights::kNone}}));
  ASSIGN_OR_RETURN(spec.on_expert_error,
                   OneOf<ExpertsSpec::OnExpertError>(node, "on_expert_error",
                                                     {{"next", ExpertsSpec::OnExpertError::kNext},
                                                      {"renormalize", ExpertsSpec::OnExpertError::kRenormalize},
                                                      {"fail", ExpertsSpec::OnExpertError::kFail}}));
  ASSIGN_OR_RETURN(spec.on_row_error, OneOf<ExpertsSpec::OnRowError>(node, "on_row_error",
                                                                     {{"mark", ExpertsSpec::OnRowError::kMark},
                                                                      {"fail", ExpertsSpec::OnRowError::kFail}}));
  ASSIGN_OR_RETURN(spec.capacity, FloatAttribute(node, "capacity", 0));
  if (!std::isfinite(spec.capacity) || spec.capacity < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'capacity': got ", spec.capacity, ", want a factor from 0 on; 0 is without a limit"));
  }
  ASSIGN_OR_RETURN(spec.row_status, BoolAttribute(node, "row_status"));
  ASSIGN_OR_RETURN(spec.watch, ReadExpertsWatch(node, spec.targets.size()));
  return spec;
}

}  // namespace portico
