#include "models/package/servable_config.h"

#include <yaml-cpp/yaml.h>

#include <functional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr uint64_t kMaxConfigBytes = 1 << 20;

int LineOf(const YAML::Node& node) { return node.Mark().line + 1; }

/// One entry of a YAML map.
struct Entry {
  std::string key;
  YAML::Node value;
  int line;
};

/// Reads one file; its methods put path and line in front of what they find wrong.
class ConfigReader {
 public:
  explicit ConfigReader(const std::string& path) : path_(path) {}

  absl::StatusOr<ServableConfig> Read(const YAML::Node& root) {
    ServableConfig config;
    ASSIGN_OR_RETURN(const std::vector<Entry> entries, Map("servable.yaml", root));
    for (const Entry& entry : entries) {
      if (entry.key == "signatures") {
        RETURN_IF_ERROR(ReadSignatures(entry, config.signatures));
      } else if (entry.key == "batching") {
        RETURN_IF_ERROR(ReadBatching(entry.value, config.batching));
      } else if (entry.key == "intra_op_threads") {
        ASSIGN_OR_RETURN(const int64_t threads, Number(entry, 1, 1024));
        config.intra_op_threads = static_cast<int>(threads);
      } else if (entry.key == "max_workers") {
        ASSIGN_OR_RETURN(const int64_t workers, Number(entry, 0, 4096));
        config.max_workers = static_cast<int>(workers);
      } else if (entry.key == "result_cache_mib") {
        ASSIGN_OR_RETURN(config.result_cache_mib, Number(entry, 0, kMaxResultCacheMib));
      } else {
        return Unknown(entry, {"signatures", "batching", "intra_op_threads", "max_workers", "result_cache_mib"});
      }
    }
    return config;
  }

  absl::Status Error(int line, absl::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(path_, ":", line, ": ", message));
  }

 private:
  absl::Status Unknown(const Entry& entry, std::initializer_list<absl::string_view> known) const {
    return Error(entry.line,
                 absl::StrCat("key '", entry.key, "': got an unknown key, want one of ", absl::StrJoin(known, ", ")));
  }

  /// The entries of a map in the file's order; none of an empty value.
  absl::StatusOr<std::vector<Entry>> Map(absl::string_view what, const YAML::Node& node) const {
    std::vector<Entry> entries;
    if (node.IsNull()) return entries;
    if (!node.IsMap()) return Error(LineOf(node), absl::StrCat(what, ": got no map, want 'key: value' lines"));
    absl::flat_hash_set<std::string> seen;
    for (const auto& item : node) {
      const int line = LineOf(item.first);
      if (!item.first.IsScalar() || item.first.Scalar().empty()) {
        return Error(line, absl::StrCat(what, ": got a key that is no text"));
      }
      if (!seen.insert(item.first.Scalar()).second) {
        return Error(line, absl::StrCat(what, ": got key '", item.first.Scalar(), "' twice, want it once"));
      }
      entries.push_back({item.first.Scalar(), item.second, line});
    }
    return entries;
  }

  absl::StatusOr<std::string> Text(const Entry& entry) const {
    if (!entry.value.IsScalar() || entry.value.Scalar().empty()) {
      return Error(entry.line, absl::StrCat("key '", entry.key, "': got no text"));
    }
    return entry.value.Scalar();
  }

  absl::StatusOr<int64_t> Number(const Entry& entry, int64_t least, int64_t most) const {
    int64_t number = 0;
    const std::string text = entry.value.IsScalar() ? entry.value.Scalar() : "no number";
    if (!absl::SimpleAtoi(text, &number) || number < least || number > most) {
      return Error(entry.line, absl::StrCat("key '", entry.key, "': got '", text, "', want a whole number from ", least,
                                            " to ", most));
    }
    return number;
  }

  absl::StatusOr<bool> Truth(const Entry& entry) const {
    bool truth = false;
    if (entry.value.IsScalar() && YAML::convert<bool>::decode(entry.value, truth)) return truth;
    return Error(entry.line, absl::StrCat("key '", entry.key, "': got no truth value, want true or false"));
  }

  /// A list of numbers from 1 on, each more than the one before.
  absl::StatusOr<std::vector<int64_t>> RisingNumbers(const Entry& entry, int64_t most) const {
    std::vector<int64_t> numbers;
    if (!entry.value.IsSequence() || entry.value.size() > 1024) {
      return Error(entry.line, absl::StrCat("key '", entry.key, "': got no list of at most 1024, want [8, 16, …]"));
    }
    for (const auto& item : entry.value) {
      ASSIGN_OR_RETURN(const int64_t number, Number({entry.key, item, entry.line}, 1, most));
      if (!numbers.empty() && number <= numbers.back()) {
        return Error(entry.line, absl::StrCat("key '", entry.key, "': got ", number, " behind ", numbers.back(),
                                              ", want rising numbers"));
      }
      numbers.push_back(number);
    }
    return numbers;
  }

  absl::Status ReadBatching(const YAML::Node& node, BatchingOptions& batching) const {
    ASSIGN_OR_RETURN(const std::vector<Entry> entries, Map("batching", node));
    for (const Entry& entry : entries) {
      if (entry.key == "max_batch_size") {
        ASSIGN_OR_RETURN(batching.max_batch_size, Number(entry, 1, 1 << 20));
      } else if (entry.key == "max_delay_us") {
        ASSIGN_OR_RETURN(batching.max_delay_us, Number(entry, 0, 60'000'000));
      } else if (entry.key == "max_queue_rows") {
        ASSIGN_OR_RETURN(batching.max_queue_rows, Number(entry, 1, 1 << 30));
      } else if (entry.key == "max_running") {
        ASSIGN_OR_RETURN(const int64_t running, Number(entry, 0, 4096));
        batching.max_running = static_cast<int>(running);
      } else if (entry.key == "allowed_batch_sizes") {
        ASSIGN_OR_RETURN(batching.allowed_batch_sizes, RisingNumbers(entry, 1 << 20));
      } else if (entry.key == "pad_variable_length_inputs") {
        ASSIGN_OR_RETURN(batching.pad_variable_length_inputs, Truth(entry));
      } else if (entry.key == "enable_large_batch_splitting") {
        ASSIGN_OR_RETURN(batching.enable_large_batch_splitting, Truth(entry));
      } else if (entry.key == "adaptive") {
        ASSIGN_OR_RETURN(batching.adaptive, Truth(entry));
      } else if (entry.key == "shares") {
        ASSIGN_OR_RETURN(batching.shares, ReadShares(entry));
      } else {
        return Unknown(entry, {"max_batch_size", "max_delay_us", "max_queue_rows", "max_running", "allowed_batch_sizes",
                               "pad_variable_length_inputs", "enable_large_batch_splitting", "adaptive", "shares"});
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::map<std::string, int64_t>> ReadShares(const Entry& from) const {
    ASSIGN_OR_RETURN(const std::vector<Entry> entries, Map("shares", from.value));
    if (entries.size() > BatchingOptions::kMaxShares) {
      return Error(from.line, absl::StrCat("shares: got ", entries.size(), " products, want at most ",
                                           BatchingOptions::kMaxShares, "; leave out those whose share is 1"));
    }
    std::map<std::string, int64_t> shares;
    for (const Entry& entry : entries) {
      ASSIGN_OR_RETURN(shares[entry.key], Number(entry, 1, BatchingOptions::kMaxShare));
    }
    return shares;
  }

  absl::Status ReadSignatures(const Entry& from, std::vector<ServableConfig::Signature>& signatures) const {
    ASSIGN_OR_RETURN(const std::vector<Entry> entries, Map("signatures", from.value));
    if (entries.empty()) {
      return Error(from.line, "signatures: got none, want at least one; leave the key out to serve the graph as it is");
    }
    for (const Entry& entry : entries) {
      ServableConfig::Signature signature;
      signature.name = entry.key;
      signature.line = entry.line;
      ASSIGN_OR_RETURN(const std::vector<Entry> parts, Map(absl::StrCat("signature '", entry.key, "'"), entry.value));
      for (const Entry& part : parts) {
        if (part.key == "inputs") {
          ASSIGN_OR_RETURN(signature.inputs, ReadTensors(part));
        } else if (part.key == "outputs") {
          ASSIGN_OR_RETURN(signature.outputs, ReadTensors(part));
        } else {
          return Unknown(part, {"inputs", "outputs"});
        }
      }
      signatures.push_back(std::move(signature));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<ServableConfig::Tensor>> ReadTensors(const Entry& from) const {
    ASSIGN_OR_RETURN(const std::vector<Entry> entries, Map(from.key, from.value));
    std::vector<ServableConfig::Tensor> tensors;
    for (const Entry& entry : entries) {
      ServableConfig::Tensor tensor;
      tensor.name = entry.key;
      tensor.graph_name = entry.key;
      tensor.line = entry.line;
      ASSIGN_OR_RETURN(const std::vector<Entry> parts, Map(absl::StrCat("tensor '", entry.key, "'"), entry.value));
      for (const Entry& part : parts) {
        if (part.key == "tensor") {
          ASSIGN_OR_RETURN(tensor.graph_name, Text(part));
        } else if (part.key == "axis") {
          ASSIGN_OR_RETURN(tensor.axis, ReadAxis(part));
        } else if (const RowPartition partition = RowPartitionOf(part.key); partition != RowPartition::kNone) {
          if (tensor.partition != RowPartition::kNone) {
            return Error(part.line, absl::StrCat("tensor '", entry.key, "': got both ",
                                                 RowPartitionName(tensor.partition), " and ", part.key, ", want one"));
          }
          tensor.partition = partition;
          ASSIGN_OR_RETURN(tensor.partition_input, Text(part));
        } else {
          return Unknown(part, {"tensor", "axis", "row_splits", "row_starts", "row_lengths", "segment_ids"});
        }
      }
      if (tensor.partition != RowPartition::kNone && tensor.axis.value_or(AxisKind::kRagged) != AxisKind::kRagged) {
        return Error(entry.line, absl::StrCat("tensor '", entry.key, "': got axis ", AxisKindName(*tensor.axis),
                                              " and ", RowPartitionName(tensor.partition), ", want axis ragged"));
      }
      if (tensor.partition != RowPartition::kNone) tensor.axis = AxisKind::kRagged;
      tensors.push_back(std::move(tensor));
    }
    return tensors;
  }

  absl::StatusOr<AxisKind> ReadAxis(const Entry& entry) const {
    ASSIGN_OR_RETURN(const std::string name, Text(entry));
    for (const AxisKind kind : {AxisKind::kShared, AxisKind::kRows, AxisKind::kRagged}) {
      if (name == AxisKindName(kind)) return kind;
    }
    return Error(entry.line, absl::StrCat("axis: got '", name, "', want shared, rows or ragged"));
  }

  const std::string& path_;
};

}  // namespace

absl::StatusOr<ServableConfig> ReadServableConfig(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxConfigBytes));
  ConfigReader reader(path);
  try {
    return reader.Read(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    return reader.Error(error.mark.line + 1, absl::StrCat("YAML: ", error.msg));
  }
}

}  // namespace portico
