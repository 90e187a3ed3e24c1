#include "deploy/composition_reader.h"

#include <cmath>
#include <initializer_list>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "deploy/cascade_watch_reader.h"
#include "deploy/experts_watch_reader.h"

namespace portico {
namespace {

using Kind = Composition::Kind;

constexpr Kind kKinds[] = {Kind::kCascade, Kind::kExperts, Kind::kSequence, Kind::kEnsemble};
constexpr size_t kMaxMembers = 64;
constexpr size_t kMaxExperts = 1024;

/// Reads one composition, a method per kind.
class Reader {
 public:
  Reader(const std::string& name, const std::string& file) {
    read_.name = name;
    read_.file = file;
  }

  absl::StatusOr<Composition> Read(const YamlNode& from) {
    const YamlNode* value = nullptr;
    for (const Kind kind : kKinds) {
      const YamlNode* found = from.Find(CompositionKindName(kind));
      if (found == nullptr) continue;
      if (value != nullptr) {
        return found->Error(absl::StrCat("model '", read_.name, "': got ", CompositionKindName(read_.kind), " and ",
                                         CompositionKindName(kind), ", want one of them; make a model of each"));
      }
      value = found;
      read_.kind = kind;
    }
    read_.line = value->line();
    subject_ = absl::StrCat("model '", read_.name, "': ", CompositionKindName(read_.kind));
    switch (read_.kind) {
      case Kind::kCascade:
        RETURN_IF_ERROR(ReadCascade(*value));
        break;
      case Kind::kExperts:
        RETURN_IF_ERROR(ReadExperts(*value));
        break;
      case Kind::kSequence:
        RETURN_IF_ERROR(ReadSequence(*value));
        break;
      case Kind::kEnsemble:
        RETURN_IF_ERROR(ReadEnsemble(*value));
        break;
    }
    return std::move(read_);
  }

 private:
  std::string Of(absl::string_view key) const { return absl::StrCat(subject_, ": ", key); }

  absl::Status ReadCascade(const YamlNode& from) {
    RETURN_IF_ERROR(
        from.CheckMap(subject_, {"stages", "outputs", "on_row_error", "row_status", "audit", "expected", "brown_out"}));
    RETURN_IF_ERROR(ReadMembers(from, "stages", 2, kMaxMembers,
                                {"model", "signature", "inline", "pin", "inputs", "outputs", "shared", "when", "by",
                                 "audit", "expected", "brown_out"}));
    RETURN_IF_ERROR(ReadWatches(from));
    for (size_t i = 0; i < read_.members.size(); ++i) {
      const CompositionMember& stage = read_.members[i];
      if (stage.when.empty() == (i == 0)) continue;
      return read_.ErrorAt(stage.line,
                           i == 0 ? absl::StrCat("stage '", stage.model,
                                                 "': got 'when' for the first stage, want none: it gets all rows")
                                  : absl::StrCat("stage '", stage.model,
                                                 "': got no 'when', want the condition for rows "
                                                 "to go on to it, such as \"score > 0.5\""));
    }
    RETURN_IF_ERROR(ReadWord(from, "on_row_error", {"cheap", "mark", "fail"}, &read_.on_row_error));
    RETURN_IF_ERROR(ReadFlag(from, "row_status", &read_.row_status));
    return ReadNames(from, "outputs", &read_.outputs);
  }

  /// How stages are watched: what the cascade says holds for each, unless it says so itself.
  absl::Status ReadWatches(const YamlNode& from) {
    const YamlNode* expected = from.Find("expected");
    if (expected != nullptr && read_.members.size() > 2) {
      return expected->Error(absl::StrCat(Of("expected"), ": got it for ", read_.members.size() - 1,
                                          " stages, want it at the stage that is meant"));
    }
    CascadeWatch all;
    RETURN_IF_ERROR(ReadCascadeWatchKeys(from, subject_, &all));
    const std::vector<YamlNode>& stages = from.Find("stages")->items();
    for (size_t i = 0; i < read_.members.size(); ++i) {
      CompositionMember& stage = read_.members[i];
      if (i > 0) stage.watch = all;
      RETURN_IF_ERROR(ReadCascadeWatchKeys(stages[i], Of("stages"), &stage.watch));
      if (i == 0 && (stage.watch.on() || !stage.by.empty())) {
        return read_.ErrorAt(stage.line, absl::StrCat("stage '", stage.model,
                                                      "': got 'audit', 'expected', 'brown_out' or 'by' for the first "
                                                      "stage, want them for one that rows go on to"));
      }
      if (!stage.by.empty() && !stage.watch.browns_out()) {
        return read_.ErrorAt(stage.by_line, absl::StrCat("stage '", stage.model,
                                                         "': got 'by' and no 'brown_out', want both: 'by' is what rows "
                                                         "are ordered by in a brown-out"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadExperts(const YamlNode& from) {
    RETURN_IF_ERROR(from.CheckMap(
        subject_, {"gate", "gate_output", "experts", "k", "k_min", "k_min_after", "weights", "on_expert_error",
                   "capacity", "expected", "on_row_error", "row_status", "outputs", "signature", "pin", "inputs"}));
    const YamlNode* gate = from.Find("gate");
    if (gate == nullptr) return from.Error(absl::StrCat(Of("gate"), ": got none, want the model that chooses"));
    ASSIGN_OR_RETURN(read_.experts.gate,
                     ReadMember(*gate, Of("gate"), {"model", "signature", "inline", "pin", "inputs", "outputs"}));
    RETURN_IF_ERROR(ReadMembers(from, "experts", 1, kMaxExperts, {"model"}));
    RETURN_IF_ERROR(ReadOfAllExperts(from));
    Composition::Experts& experts = read_.experts;
    RETURN_IF_ERROR(ReadText(from, "gate_output", &experts.gate_output));
    const auto count = static_cast<int64_t>(read_.members.size());
    RETURN_IF_ERROR(ReadInteger(from, "k", 1, count, &experts.k));
    RETURN_IF_ERROR(ReadInteger(from, "k_min", 1, experts.k, &experts.k_min));
    if (const YamlNode* after = from.Find("k_min_after")) {
      ASSIGN_OR_RETURN(experts.k_min_after, after->Duration(Of("k_min_after")));
      if (experts.k_min == 0 || experts.k_min_after != absl::Floor(experts.k_min_after, absl::Milliseconds(1)) ||
          experts.k_min_after > absl::Hours(1)) {
        return after->Error(absl::StrCat(Of("k_min_after"), ": want whole milliseconds, 1h at most, beside a 'k_min'"));
      }
    }
    RETURN_IF_ERROR(ReadWord(from, "weights", {"softmax", "renormalize", "none"}, &experts.weights));
    RETURN_IF_ERROR(ReadWord(from, "on_expert_error", {"next", "renormalize", "fail"}, &experts.on_expert_error));
    RETURN_IF_ERROR(ReadWord(from, "on_row_error", {"mark", "fail"}, &read_.on_row_error));
    if (const YamlNode* capacity = from.Find("capacity")) {
      ASSIGN_OR_RETURN(experts.capacity, Number(*capacity, Of("capacity")));
    }
    RETURN_IF_ERROR(ReadExpertsWatchKeys(from, subject_, read_.members.size(), &experts.watch));
    return ReadFlag(from, "row_status", &read_.row_status);
  }

  /// What is said once and holds for each expert.
  absl::Status ReadOfAllExperts(const YamlNode& from) {
    CompositionMember all;
    RETURN_IF_ERROR(ReadText(from, "signature", &all.signature));
    RETURN_IF_ERROR(ReadFlag(from, "pin", &all.pinned));
    RETURN_IF_ERROR(ReadRenames(from, "inputs", subject_, &all.inputs));
    for (CompositionMember& expert : read_.members) {
      expert.signature = all.signature;
      expert.pinned = all.pinned;
      expert.inputs = all.inputs;
    }
    return ReadNames(from, "outputs", &read_.outputs);
  }

  absl::Status ReadSequence(const YamlNode& from) {
    // A list is its steps.
    if (from.kind() == YamlNode::Kind::kList) return ReadMemberList(from, "steps", 1, kMaxMembers, kStepKeys);
    RETURN_IF_ERROR(from.CheckMap(subject_, {"steps", "outputs"}));
    RETURN_IF_ERROR(ReadMembers(from, "steps", 1, kMaxMembers, kStepKeys));
    return ReadNames(from, "outputs", &read_.outputs);
  }

  absl::Status ReadEnsemble(const YamlNode& from) {
    RETURN_IF_ERROR(from.CheckMap(subject_, {"models", "combine", "weights", "outputs"}));
    RETURN_IF_ERROR(ReadMembers(from, "models", 1, kMaxMembers, kStepKeys));
    std::string combine = "mean";
    RETURN_IF_ERROR(ReadWord(from, "combine", {"mean", "vote", "concat"}, &combine));
    read_.ensemble.combine = combine == "mean"   ? Composition::Combine::kMean
                             : combine == "vote" ? Composition::Combine::kVote
                                                 : Composition::Combine::kConcat;
    if (const YamlNode* weights = from.Find("weights")) {
      RETURN_IF_ERROR(weights->CheckList(Of("weights")));
      float total = 0;
      for (const YamlNode& item : weights->items()) {
        ASSIGN_OR_RETURN(const float weight, Number(item, Of("weights")));
        read_.ensemble.weights.push_back(weight);
        total += weight;
      }
      if (combine != "mean" || weights->items().size() != read_.members.size() || !(total > 0) ||
          !std::isfinite(total)) {
        return weights->Error(absl::StrCat(Of("weights"), ": got ", weights->items().size(), " for '", combine,
                                           "', want one for each of ", read_.members.size(),
                                           " models, not all 0, with 'combine: mean'"));
      }
    }
    return ReadNames(from, "outputs", &read_.outputs);
  }

  // Members.

  using Keys = std::initializer_list<absl::string_view>;
  static constexpr Keys kStepKeys = {"model", "signature", "inline", "pin", "inputs", "outputs", "shared"};

  absl::Status ReadMembers(const YamlNode& from, absl::string_view key, size_t least, size_t most, Keys keys) {
    const YamlNode* list = from.Find(key);
    if (list == nullptr) return from.Error(absl::StrCat(Of(key), ": got none, want a list of models"));
    return ReadMemberList(*list, key, least, most, keys);
  }

  absl::Status ReadMemberList(const YamlNode& list, absl::string_view key, size_t least, size_t most, Keys keys) {
    RETURN_IF_ERROR(list.CheckList(Of(key)));
    if (list.items().size() < least || list.items().size() > most) {
      return list.Error(absl::StrCat(Of(key), ": got ", list.items().size(), ", want ", least, " to ", most));
    }
    for (const YamlNode& item : list.items()) {
      ASSIGN_OR_RETURN(CompositionMember member, ReadMember(item, Of(key), keys));
      read_.members.push_back(std::move(member));
    }
    return absl::OkStatus();
  }

  /// `NAME` or `{model: NAME, …}`.
  absl::StatusOr<CompositionMember> ReadMember(const YamlNode& from, const std::string& subject, Keys keys) const {
    CompositionMember member;
    member.line = member.when_line = from.line();
    if (from.kind() == YamlNode::Kind::kText) {
      ASSIGN_OR_RETURN(member.model, from.Text(subject));
      return member;
    }
    RETURN_IF_ERROR(from.CheckMap(subject, keys));
    if (from.Find("model") == nullptr) return from.Error(absl::StrCat(subject, ": got no 'model', want its name"));
    RETURN_IF_ERROR(ReadText(from, "model", &member.model));
    RETURN_IF_ERROR(ReadText(from, "signature", &member.signature));
    if (from.Find("inline") != nullptr) {
      bool copied = false;
      RETURN_IF_ERROR(ReadFlag(from, "inline", &copied));
      member.copied = copied;
    }
    RETURN_IF_ERROR(ReadFlag(from, "pin", &member.pinned));
    RETURN_IF_ERROR(ReadRenames(from, "inputs", subject, &member.inputs));
    RETURN_IF_ERROR(ReadRenames(from, "outputs", subject, &member.outputs));
    RETURN_IF_ERROR(ReadNames(from, "shared", &member.shared));
    if (const YamlNode* when = from.Find("when")) {
      RETURN_IF_ERROR(ReadText(from, "when", &member.when));
      member.when_line = when->line();
    }
    if (const YamlNode* by = from.Find("by")) {
      RETURN_IF_ERROR(ReadText(from, "by", &member.by));
      member.by_line = by->line();
    }
    return member;
  }

  /// `{their name: our name}`.
  absl::Status ReadRenames(const YamlNode& from, absl::string_view key, const std::string& subject,
                           CompositionMember::Names* names) const {
    const YamlNode* map = from.Find(key);
    if (map == nullptr) return absl::OkStatus();
    RETURN_IF_ERROR(map->CheckMap(absl::StrCat(subject, ": ", key), {}));
    for (const YamlEntry& entry : map->entries()) {
      ASSIGN_OR_RETURN(std::string ours, entry.value.Text(absl::StrCat(subject, ": ", key, ": ", entry.key)));
      names->emplace_back(entry.key, std::move(ours));
    }
    return absl::OkStatus();
  }

  // Values of keys that may be absent.

  absl::Status ReadNames(const YamlNode& from, absl::string_view key, std::vector<std::string>* names) const {
    const YamlNode* list = from.Find(key);
    if (list == nullptr) return absl::OkStatus();
    RETURN_IF_ERROR(list->CheckList(Of(key)));
    for (const YamlNode& item : list->items()) {
      ASSIGN_OR_RETURN(std::string name, item.Text(Of(key)));
      if (absl::c_linear_search(*names, name)) {
        return item.Error(absl::StrCat(Of(key), ": got '", name, "' twice, want it once; remove one"));
      }
      names->push_back(std::move(name));
    }
    if (names->empty()) return list->Error(absl::StrCat(Of(key), ": got an empty list, want a name; or leave it out"));
    return absl::OkStatus();
  }

  absl::Status ReadText(const YamlNode& from, absl::string_view key, std::string* text) const {
    if (const YamlNode* value = from.Find(key)) {
      ASSIGN_OR_RETURN(*text, value->Text(Of(key)));
    }
    return absl::OkStatus();
  }

  absl::Status ReadInteger(const YamlNode& from, absl::string_view key, int64_t least, int64_t most,
                           int64_t* number) const {
    if (const YamlNode* value = from.Find(key)) {
      ASSIGN_OR_RETURN(*number, value->Integer(Of(key), least, most));
    }
    return absl::OkStatus();
  }

  absl::Status ReadFlag(const YamlNode& from, absl::string_view key, bool* flag) const {
    std::string word = *flag ? "true" : "false";
    RETURN_IF_ERROR(ReadWord(from, key, {"true", "false"}, &word));
    *flag = word == "true";
    return absl::OkStatus();
  }

  absl::Status ReadWord(const YamlNode& from, absl::string_view key, Keys words, std::string* word) const {
    const YamlNode* value = from.Find(key);
    if (value == nullptr) return absl::OkStatus();
    ASSIGN_OR_RETURN(std::string text, value->Text(Of(key)));
    if (!absl::c_linear_search(words, text)) {
      return value->Error(absl::StrCat(Of(key), ": got '", text, "', want ", absl::StrJoin(words, " or ")));
    }
    *word = std::move(text);
    return absl::OkStatus();
  }

  static absl::StatusOr<float> Number(const YamlNode& from, const std::string& subject) {
    ASSIGN_OR_RETURN(const std::string text, from.Text(subject));
    float number = 0;
    if (absl::SimpleAtof(text, &number) && std::isfinite(number) && number >= 0) return number;
    return from.Error(absl::StrCat(subject, ": got '", text, "', want a number from 0 on"));
  }

  Composition read_;
  std::string subject_;
};

}  // namespace

bool IsComposition(const YamlNode& model) {
  return absl::c_any_of(kKinds, [&](Kind kind) { return model.Find(CompositionKindName(kind)) != nullptr; });
}

absl::StatusOr<Composition> ReadComposition(const std::string& name, const YamlNode& from, const std::string& file) {
  return Reader(name, file).Read(from);
}

}  // namespace portico
