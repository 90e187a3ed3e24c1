#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace portico {

struct YamlEntry;

/// One value of a YAML file and where it stands, for reading configuration strictly: what is wrong is said with file
/// and line. A plain tree that owns its text (aliases are expanded, within a bound); immutable, thread-safe.
///
///   ASSIGN_OR_RETURN(const YamlNode root, ReadYaml("mesh.yaml"));
///   RETURN_IF_ERROR(root.CheckMap("mesh file", {"mesh", "models"}));
///   if (const YamlNode* mesh = root.Find("mesh")) { ASSIGN_OR_RETURN(name, mesh->Text("mesh")); }
class YamlNode {
 public:
  enum class Kind { kNothing, kText, kList, kMap };

  Kind kind() const { return kind_; }
  /// Where it begins; of a list or map that has a key, the key's line.
  int line() const { return line_; }
  /// Of a map, in the file's order, keys unique.
  const std::vector<YamlEntry>& entries() const { return entries_; }
  /// Of a list.
  const std::vector<YamlNode>& items() const { return items_; }
  /// nullptr when this is no map or has no such key.
  const YamlNode* Find(absl::string_view key) const;

  /// INVALID_ARGUMENT "FILE:LINE: message".
  absl::Status Error(absl::string_view message) const;

  // Each checks what this is and says `subject` when it is not.

  /// A map whose keys are all in `known`; an empty `known` allows any.
  absl::Status CheckMap(absl::string_view subject, std::initializer_list<absl::string_view> known) const;
  absl::Status CheckList(absl::string_view subject) const;
  /// A scalar that is not empty.
  absl::StatusOr<std::string> Text(absl::string_view subject) const;
  /// A decimal number within [min, max].
  absl::StatusOr<int64_t> Integer(absl::string_view subject, int64_t min, int64_t max) const;
  /// "100ms", "1.5s", "2m": finite, not negative.
  absl::StatusOr<absl::Duration> Duration(absl::string_view subject) const;

 private:
  friend class YamlTreeBuilder;
  std::string Got() const;

  std::shared_ptr<const std::string> file_;
  int line_ = 1;
  Kind kind_ = Kind::kNothing;
  std::string text_;
  std::vector<YamlNode> items_;
  std::vector<YamlEntry> entries_;
};

struct YamlEntry {
  std::string key;
  /// Of the key; text may begin further down.
  int line = 1;
  YamlNode value;
};

/// Reads a file of exactly one YAML document. INVALID_ARGUMENT with file and line for what is not YAML and for a key
/// that is there twice; NOT_FOUND when there is no such file.
absl::StatusOr<YamlNode> ReadYaml(const std::string& path);
/// The same of text; `file` is what messages call it.
absl::StatusOr<YamlNode> ParseYaml(const std::string& text, const std::string& file);

}  // namespace portico
