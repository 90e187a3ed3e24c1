#include "models/package/package.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "models/package/servable_config.h"

namespace portico {
namespace {

constexpr char kModelFile[] = "model.onnx";
constexpr char kConfigFile[] = "servable.yaml";

using OptionalTensors = std::optional<std::vector<ServableConfig::Tensor>>;

/// The number a version folder is named by; none for any other name.
std::optional<int64_t> VersionOf(const std::string& name) {
  int64_t version = 0;
  const bool digits = !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || !absl::SimpleAtoi(name, &version)) return std::nullopt;
  return version;
}

/// Holds servable.yaml's signatures against the graph's own.
class SignatureBinder {
 public:
  SignatureBinder(const std::string& path, const Signature& graph) : path_(path), graph_(graph) {}

  absl::StatusOr<Signature> Bind(const ServableConfig::Signature& declared) {
    Signature signature;
    signature.name = declared.name;
    ASSIGN_OR_RETURN(signature.inputs, BindTensors("input", declared.inputs, graph_.inputs));
    ASSIGN_OR_RETURN(signature.outputs, BindTensors("output", declared.outputs, graph_.outputs));
    RETURN_IF_ERROR(BindPartitions(declared, signature));
    for (const TensorSpec& input : graph_.inputs) {
      const auto covers = [&](const TensorSpec& spec) { return spec.graph_name == input.graph_name; };
      if (std::none_of(signature.inputs.begin(), signature.inputs.end(), covers)) {
        return Error(declared.line, absl::StrCat("signature '", declared.name, "': got no input for tensor '",
                                                 input.graph_name, "' of the graph, want every input of the graph"));
      }
    }
    if (signature.outputs.empty()) {
      return Error(declared.line, absl::StrCat("signature '", declared.name, "': got no outputs, want at least one"));
    }
    return signature;
  }

 private:
  absl::Status Error(int line, absl::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(path_, ":", line, ": ", message));
  }

  /// `declared` as specs in the graph's order, which is part of the contract between callers and a digest.
  absl::StatusOr<std::vector<TensorSpec>> BindTensors(absl::string_view what, const OptionalTensors& declared,
                                                      const std::vector<TensorSpec>& graph) const {
    if (!declared.has_value()) return graph;
    std::vector<const ServableConfig::Tensor*> by_position(graph.size());
    for (const ServableConfig::Tensor& tensor : *declared) {
      const auto spec = std::find_if(graph.begin(), graph.end(),
                                     [&](const TensorSpec& s) { return s.graph_name == tensor.graph_name; });
      if (spec == graph.end()) {
        return Error(tensor.line, absl::StrCat(what, " '", tensor.name, "': got tensor '", tensor.graph_name,
                                               "', want one of the graph's ", what, "s: ", Names(graph)));
      }
      const ServableConfig::Tensor*& place = by_position[static_cast<size_t>(spec - graph.begin())];
      if (place != nullptr) {
        return Error(tensor.line, absl::StrCat(what, " '", tensor.name, "': got tensor '", tensor.graph_name,
                                               "', want another: '", place->name, "' stands for it already"));
      }
      place = &tensor;
    }
    std::vector<TensorSpec> specs;
    for (size_t i = 0; i < graph.size(); ++i) {
      if (by_position[i] == nullptr) continue;
      TensorSpec spec = graph[i];
      spec.name = by_position[i]->name;
      spec.axis = by_position[i]->axis.value_or(AxisKind::kShared);
      if (spec.axis != AxisKind::kShared && spec.has_rank && (spec.dims.empty() || spec.dims[0].extent >= 0)) {
        return Error(by_position[i]->line,
                     absl::StrCat(what, " '", spec.name, "': got axis ", AxisKindName(spec.axis), " for ",
                                  spec.ToString(), ", want shared; its dim 0 does not vary"));
      }
      specs.push_back(std::move(spec));
    }
    return specs;
  }

  /// Ties ragged values to what divides them. No output is ragged.
  absl::Status BindPartitions(const ServableConfig::Signature& declared, Signature& signature) const {
    for (const TensorSpec& output : signature.outputs) {
      if (output.axis != AxisKind::kRagged) continue;
      return Error(declared.line, absl::StrCat("output '", output.name,
                                               "': got axis ragged, want rows or shared; outputs count rows"));
    }
    if (!declared.inputs.has_value()) return absl::OkStatus();
    const auto refuse = [&](const ServableConfig::Tensor& tensor, const auto&... message) {
      return Error(tensor.line, absl::StrCat("input '", tensor.name, "': got ", message...));
    };
    // How each input divides others, by its position; and whether anything but segment ids says how many rows there
    // are.
    std::vector<RowPartition> divides(signature.inputs.size(), RowPartition::kNone);
    bool counted = false;
    for (const TensorSpec& spec : signature.inputs) counted |= spec.axis == AxisKind::kRows;
    for (const ServableConfig::Tensor& tensor : *declared.inputs) {
      if (tensor.partition == RowPartition::kNone) continue;
      const absl::string_view kind = RowPartitionName(tensor.partition);
      const int index = signature.InputIndex(tensor.partition_input);
      if (index < 0 || tensor.partition_input == tensor.name) {
        return refuse(tensor, kind, " '", tensor.partition_input, "', want the name of another input");
      }
      TensorSpec& partition = signature.inputs[static_cast<size_t>(index)];
      RowPartition& divided = divides[static_cast<size_t>(index)];
      const bool whole = partition.dtype == DType::kInt32 || partition.dtype == DType::kInt64;
      if (!whole || partition.dims.size() != 1 || partition.dims[0].extent >= 0) {
        return refuse(tensor, kind, " '", partition.name, "', ", partition.ToString(),
                      ", want int32 or int64 of rank 1 whose extent varies");
      }
      if (divided != RowPartition::kNone && divided != tensor.partition) {
        return refuse(tensor, kind, " '", partition.name, "', want ", RowPartitionName(divided),
                      " as another input has it");
      }
      divided = tensor.partition;
      counted |= divided != RowPartition::kSegmentIds;
      partition.axis = AxisKind::kRagged;
      TensorSpec& values = signature.inputs[static_cast<size_t>(signature.InputIndex(tensor.name))];
      values.partition = tensor.partition;
      values.partition_input = tensor.partition_input;
    }
    for (const ServableConfig::Tensor& tensor : *declared.inputs) {
      if (tensor.axis != AxisKind::kRagged) continue;
      const RowPartition divided = divides[static_cast<size_t>(signature.InputIndex(tensor.name))];
      if (tensor.partition != RowPartition::kNone && divided != RowPartition::kNone) {
        return refuse(tensor, "axis ragged for what divides another input into rows, want one level of rows");
      }
      if (tensor.partition == RowPartition::kNone && divided == RowPartition::kNone) {
        return refuse(tensor,
                      "axis ragged alone, want row_splits, row_starts, row_lengths or segment_ids beside it, "
                      "with the name of the input that divides it into rows");
      }
      if (tensor.partition == RowPartition::kSegmentIds && !counted) {
        return refuse(tensor,
                      "segment_ids, which say nothing of empty rows at the end, want an input of axis rows too");
      }
    }
    return absl::OkStatus();
  }

  static std::string Names(const std::vector<TensorSpec>& specs) {
    return absl::StrJoin(specs, ", ", [](std::string* out, const TensorSpec& spec) { out->append(spec.graph_name); });
  }

  const std::string& path_;
  const Signature& graph_;
};

bool DeclaresAxes(const ServableConfig& config) {
  const auto declares = [](const ServableConfig::Tensor& tensor) { return tensor.axis.has_value(); };
  const auto any = [&](const OptionalTensors& tensors) {
    return tensors.has_value() && std::any_of(tensors->begin(), tensors->end(), declares);
  };
  return std::any_of(config.signatures.begin(), config.signatures.end(),
                     [&](const ServableConfig::Signature& s) { return any(s.inputs) || any(s.outputs); });
}

/// The model's digest; where servable.yaml leaves outputs of the graph out, a digest of that too: callers who know the
/// digest take outputs by position.
absl::StatusOr<Digest> PackageDigest(const Package& package, const Signature& graph) {
  ASSIGN_OR_RETURN(const Digest model, ModelDigest(package.model));
  Hasher hasher;
  hasher.Add(model);
  bool narrowed = false;
  for (const Signature& signature : package.signatures) {
    if (signature.outputs.size() == graph.outputs.size()) continue;
    narrowed = true;
    hasher.Add(signature.name);
    for (size_t i = 0; i < graph.outputs.size(); ++i) {
      const auto is_it = [&](const TensorSpec& spec) { return spec.graph_name == graph.outputs[i].graph_name; };
      hasher.Add(static_cast<uint64_t>(std::any_of(signature.outputs.begin(), signature.outputs.end(), is_it)));
    }
  }
  return narrowed ? hasher.Finish() : model;
}

}  // namespace

const Signature* Package::FindSignature(absl::string_view signature) const {
  for (const Signature& candidate : signatures) {
    if (candidate.name == signature) return &candidate;
  }
  return nullptr;
}

absl::StatusOr<Package> LoadPackage(const std::string& name, const std::string& folder, WeightStore& store) {
  std::filesystem::path path = folder;
  if (!path.has_filename()) path = path.parent_path();
  const std::optional<int64_t> version = VersionOf(path.filename().string());
  if (!version.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("package '", folder, "': got folder '", path.filename().string(),
                                                   "', want one named by its version, as in NAME/1"));
  }
  const std::string model_path = (path / kModelFile).string();
  ASSIGN_OR_RETURN(Model model, Model::Load(model_path, store));
  const std::string context = absl::StrCat("model '", model_path, "'");
  absl::StatusOr<Signature> graph = GraphSignature(model);
  if (!graph.ok()) return WithContext(context, graph.status());

  Package package{.name = name, .version = *version, .folder = path.string(), .model = std::move(model)};
  const std::string config_path = (path / kConfigFile).string();
  absl::StatusOr<ServableConfig> config = ReadServableConfig(config_path);
  if (absl::IsNotFound(config.status())) config = ServableConfig();
  if (!config.ok()) return config.status();
  package.batching = config->batching;
  package.intra_op_threads = config->intra_op_threads;
  package.max_workers = config->max_workers;
  package.result_cache_mib = config->result_cache_mib;
  package.axes_declared = DeclaresAxes(*config);
  for (const ServableConfig::Signature& declared : config->signatures) {
    ASSIGN_OR_RETURN(Signature signature, SignatureBinder(config_path, *graph).Bind(declared));
    package.signatures.push_back(std::move(signature));
  }
  if (package.signatures.empty()) package.signatures.push_back(*graph);
  std::stable_partition(package.signatures.begin(), package.signatures.end(),
                        [](const Signature& signature) { return signature.name == kDefaultSignature; });
  absl::StatusOr<Digest> digest = PackageDigest(package, *graph);
  if (!digest.ok()) return WithContext(context, digest.status());
  package.digest = *digest;
  return package;
}

absl::StatusOr<std::vector<VersionFolder>> ListVersions(const std::string& base) {
  std::error_code error;
  std::vector<VersionFolder> versions;
  std::filesystem::directory_iterator entry(base, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::optional<int64_t> version = VersionOf(entry->path().filename().string());
    std::error_code ignored;
    if (version.has_value() && entry->is_directory(ignored)) versions.push_back({*version, entry->path().string()});
  }
  if (error) {
    const std::string message = absl::StrCat("folder '", base, "': ", error.message(),
                                             "; want a folder with one folder per version, as in NAME/1/model.onnx");
    const bool missing = error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory;
    return missing ? absl::NotFoundError(message) : absl::UnavailableError(message);
  }
  std::sort(versions.begin(), versions.end(), [](const VersionFolder& a, const VersionFolder& b) {
    return a.version != b.version ? a.version < b.version : a.folder < b.folder;
  });
  for (size_t i = 1; i < versions.size(); ++i) {
    if (versions[i].version != versions[i - 1].version) continue;
    return absl::InvalidArgumentError(absl::StrCat("folder '", base, "': got version ", versions[i].version,
                                                   " twice, as '", versions[i - 1].folder, "' and '",
                                                   versions[i].folder, "', want it once; remove one"));
  }
  return versions;
}

}  // namespace portico
