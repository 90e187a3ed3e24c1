#include "cli/mesh_condition.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status_macros.h"
#include "router/yaml_node.h"
#include "yaml-cpp/yaml.h"

namespace portico {
namespace {

/// `text` as a scalar on one line.
std::string Quoted(const std::string& text) {
  if (text.find_first_of("\"\\\n") == std::string::npos) return absl::StrCat("\"", text, "\"");
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "''"}}), "'");
}

/// Where the scalar at `begin` ends; none where it is not a word or a text in quotes on one line.
std::optional<size_t> EndOfScalar(const std::string& text, size_t begin, const std::string& value) {
  if (begin >= text.size()) return std::nullopt;
  const char quote = text[begin];
  if (quote != '"' && quote != '\'') {
    if (text.compare(begin, value.size(), value) != 0) return std::nullopt;
    return begin + value.size();
  }
  for (size_t at = begin + 1; at < text.size() && text[at] != '\n'; ++at) {
    if (quote == '"' && text[at] == '\\') {
      ++at;
    } else if (text[at] == quote) {
      if (quote == '"' || at + 1 == text.size() || text[at + 1] != '\'') return at + 1;
      ++at;
    }
  }
  return std::nullopt;
}

/// The `when` of a parsed file; null: it is not there.
const YamlNode* FindWhen(const YamlNode& root, const std::string& model, size_t stage) {
  const YamlNode* at = root.Find("models");
  for (const std::string& key : {model, std::string("cascade"), std::string("stages")}) {
    if (at != nullptr) at = at->Find(key);
  }
  if (at == nullptr || at->items().size() <= stage) return nullptr;
  return at->items()[stage].Find("when");
}

/// Whether `after` is `before` but for that `when`, which is now `when`.
bool OnlyThatChanged(const YamlNode& before, const YamlNode& after, const std::string& model, size_t stage,
                     const std::string& when) {
  const YamlNode* old_when = FindWhen(before, model, stage);
  const YamlNode* new_when = FindWhen(after, model, stage);
  if (new_when == nullptr || new_when->Text("").value_or("") != when) return false;
  struct Walk {
    const YamlNode *old_when, *new_when;
    bool Same(const YamlNode& a, const YamlNode& b) const {
      if (&a == old_when || &b == new_when) return &a == old_when && &b == new_when;
      if (a.kind() != b.kind() || a.items().size() != b.items().size() || a.entries().size() != b.entries().size()) {
        return false;
      }
      if (a.Text("").value_or("") != b.Text("").value_or("")) return false;
      for (size_t i = 0; i < a.items().size(); ++i) {
        if (!Same(a.items()[i], b.items()[i])) return false;
      }
      for (size_t i = 0; i < a.entries().size(); ++i) {
        if (a.entries()[i].key != b.entries()[i].key || !Same(a.entries()[i].value, b.entries()[i].value)) return false;
      }
      return true;
    }
  };
  return Walk{old_when, new_when}.Same(before, after);
}

}  // namespace

absl::StatusOr<std::string> WithCondition(const std::string& text, const std::string& file, const std::string& model,
                                          size_t stage, const std::string& when) {
  ASSIGN_OR_RETURN(const YamlNode before, ParseYaml(text, file));
  const YamlNode* old_when = FindWhen(before, model, stage);
  if (old_when == nullptr) return before.Error(absl::StrCat("model '", model, "': got no 'when' to replace"));
  const absl::Status by_hand = old_when->Error(
      absl::StrCat("model '", model,
                   "': when: got a condition that cannot be replaced where it stands, want it in one line; "
                   "write by hand  when: ",
                   Quoted(when)));
  ASSIGN_OR_RETURN(const std::string old, old_when->Text("when"));
  YAML::Mark mark;
  try {
    // ParseYaml() has read the same; a Node is a reference, so each step is a Node of its own.
    const YAML::Node models = YAML::Load(text)["models"];
    const YAML::Node cascade = models[model]["cascade"];
    mark = cascade["stages"][stage]["when"].Mark();
  } catch (const YAML::Exception&) {
    return by_hand;
  }
  if (mark.is_null() || mark.pos < 0) return by_hand;
  const auto begin = static_cast<size_t>(mark.pos);
  const std::optional<size_t> end = EndOfScalar(text, begin, old);
  if (!end) return by_hand;
  std::string changed = text;
  changed.replace(begin, *end - begin, Quoted(when));
  const absl::StatusOr<YamlNode> after = ParseYaml(changed, file);
  if (!after.ok() || !OnlyThatChanged(before, *after, model, stage, when)) return by_hand;
  return changed;
}

}  // namespace portico
