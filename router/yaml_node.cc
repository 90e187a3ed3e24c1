#include "router/yaml_node.h"

#include <map>
#include <sstream>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/yaml.h"

namespace portico {
namespace {

constexpr uint64_t kMaxFileBytes = 4 << 20;
/// Expanded nodes of one document: aliases of aliases grow without bound otherwise.
constexpr int kMaxNodes = 200000;
/// Lists and maps within each other: an alias of a node that it stands in has no end.
constexpr int kMaxDepth = 100;

/// Takes a document's events and does nothing with them.
class NoEvents final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

/// How many documents `text` holds: "no", "one", "several". YAML::LoadAll() never ends where one begins with a comma,
/// which yaml-cpp leaves where it is: so this looks at two documents and no further.
absl::string_view Documents(const std::string& text) {
  std::istringstream in(text);
  YAML::Parser parser(in);
  NoEvents ignored;
  if (!parser.HandleNextDocument(ignored)) return "no";
  return parser.HandleNextDocument(ignored) ? "several" : "one";
}

}  // namespace

/// Turns yaml-cpp's nodes, which throw and share, into a YamlNode tree. For one document.
class YamlTreeBuilder {
 public:
  explicit YamlTreeBuilder(const std::string& file) : file_(std::make_shared<const std::string>(file)) {}

  absl::StatusOr<YamlNode> Build(const YAML::Node& from) {
    if (depth_ == kMaxDepth) {
      return ErrorAt(from.Mark(), absl::StrCat("document: got lists and maps more than ", kMaxDepth,
                                               " deep, aliases expanded; does an alias stand in what it names?"));
    }
    ++depth_;
    absl::StatusOr<YamlNode> built = BuildNode(from);
    --depth_;
    return built;
  }

  absl::Status ErrorAt(const YAML::Mark& mark, absl::string_view message) const { return At(mark).Error(message); }

 private:
  absl::StatusOr<YamlNode> BuildNode(const YAML::Node& from) {
    YamlNode node = At(from.Mark());
    if (++nodes_ > kMaxNodes) {
      return node.Error(
          absl::StrCat("document: got more than ", kMaxNodes, " values, aliases expanded; make it smaller"));
    }
    switch (from.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        return node;
      case YAML::NodeType::Scalar:
        node.kind_ = YamlNode::Kind::kText;
        node.text_ = from.Scalar();
        return node;
      case YAML::NodeType::Sequence:
        node.kind_ = YamlNode::Kind::kList;
        for (const YAML::Node& item : from) {
          ASSIGN_OR_RETURN(YamlNode built, Build(item));
          node.items_.push_back(std::move(built));
        }
        return node;
      case YAML::NodeType::Map:
        node.kind_ = YamlNode::Kind::kMap;
        RETURN_IF_ERROR(BuildEntries(from, &node));
        return node;
    }
    return node;
  }

  YamlNode At(const YAML::Mark& mark) const {
    YamlNode node;
    node.file_ = file_;
    node.line_ = mark.is_null() ? 1 : mark.line + 1;
    return node;
  }

  absl::Status BuildEntries(const YAML::Node& from, YamlNode* node) {
    std::map<std::string, int> first_line;
    for (const auto& pair : from) {
      const YamlNode key = At(pair.first.Mark());
      if (!pair.first.IsScalar()) return key.Error("key: got a list, a map or nothing, want text");
      const std::string& name = pair.first.Scalar();
      const auto [first, fresh] = first_line.emplace(name, key.line());
      if (!fresh) {
        return key.Error(
            absl::StrCat("key '", name, "': is there twice, first in line ", first->second, "; rename or remove one"));
      }
      ASSIGN_OR_RETURN(YamlNode value, Build(pair.second));
      // A list or map in block style begins one line below the key that people look for.
      if (value.kind() != YamlNode::Kind::kText) value.line_ = key.line();
      node->entries_.push_back({name, key.line(), std::move(value)});
    }
    return absl::OkStatus();
  }

  const std::shared_ptr<const std::string> file_;
  int depth_ = 0;
  int nodes_ = 0;
};

absl::StatusOr<YamlNode> ParseYaml(const std::string& text, const std::string& file) {
  YamlTreeBuilder builder(file);
  try {
    if (const absl::string_view documents = Documents(text); documents != "one") {
      return builder.ErrorAt(YAML::Mark::null_mark(),
                             absl::StrCat("file: got ", documents, " YAML documents, want one"));
    }
    return builder.Build(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    return builder.ErrorAt(error.mark, absl::StrCat("got no valid YAML: ", error.msg));
  }
}

absl::StatusOr<YamlNode> ReadYaml(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  return ParseYaml(text, path);
}

const YamlNode* YamlNode::Find(absl::string_view key) const {
  for (const YamlEntry& entry : entries_) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

absl::Status YamlNode::Error(absl::string_view message) const {
  return absl::InvalidArgumentError(absl::StrCat(*file_, ":", line_, ": ", message));
}

std::string YamlNode::Got() const {
  switch (kind_) {
    case Kind::kNothing:
      return "nothing";
    case Kind::kText:
      return absl::StrCat("'", text_, "'");
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a map";
  }
  return "nothing";
}

absl::Status YamlNode::CheckMap(absl::string_view subject, std::initializer_list<absl::string_view> known) const {
  if (kind_ != Kind::kMap) return Error(absl::StrCat(subject, ": got ", Got(), ", want a map"));
  if (known.size() == 0) return absl::OkStatus();
  for (const YamlEntry& entry : entries_) {
    if (absl::c_linear_search(known, entry.key)) continue;
    return absl::InvalidArgumentError(absl::StrCat(*file_, ":", entry.line, ": ", subject, ": got unknown key '",
                                                   entry.key, "', want one of ", absl::StrJoin(known, ", ")));
  }
  return absl::OkStatus();
}

absl::Status YamlNode::CheckList(absl::string_view subject) const {
  if (kind_ == Kind::kList) return absl::OkStatus();
  return Error(absl::StrCat(subject, ": got ", Got(), ", want a list such as [a, b]"));
}

absl::StatusOr<std::string> YamlNode::Text(absl::string_view subject) const {
  if (kind_ == Kind::kText && !text_.empty()) return text_;
  return Error(absl::StrCat(subject, ": got ", Got(), ", want text"));
}

absl::StatusOr<int64_t> YamlNode::Integer(absl::string_view subject, int64_t min, int64_t max) const {
  int64_t value = 0;
  if (kind_ == Kind::kText && absl::SimpleAtoi(text_, &value) && value >= min && value <= max) return value;
  return Error(absl::StrCat(subject, ": got ", Got(), ", want a whole number from ", min, " to ", max));
}

absl::StatusOr<absl::Duration> YamlNode::Duration(absl::string_view subject) const {
  absl::Duration value;
  if (kind_ == Kind::kText && absl::ParseDuration(text_, &value) && value >= absl::ZeroDuration() &&
      value < absl::InfiniteDuration()) {
    return value;
  }
  return Error(absl::StrCat(subject, ": got ", Got(), ", want a duration with its unit, such as 100ms or 2s"));
}

}  // namespace portico
