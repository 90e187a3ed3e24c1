#include "models/split/split_embeddings.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "embedding/group_staging.h"
#include "embedding/group_writer.h"
#include "embedding/shard_file.h"
#include "embedding/shard_map.h"
#include "embedding/table_group.h"
#include "models/graph/graph_plan.h"
#include "models/package/folder_transaction.h"
#include "models/package/shard_package.h"
#include "models/split/embedding_lookups.h"
#include "models/split/embedding_rewrite.h"
#include "models/split/embedding_verify.h"
#include "models/split/local_tables.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// A mesh of one node for the product and one for each shard.
std::string MeshText(const EmbeddingSplit& split, const std::string& group) {
  std::string text = absl::StrCat(
      "# Made by portico split; portico up starts it.\nmesh: ", fs::path(split.product).filename().string(),
      "\nmodels:\n  ", split.product, ": {path: ", split.product, "}\ntables:\n  ", group, ": {path: ", group,
      "}\nnodes:\n  front: {serve: [", split.product, "], grpc: 8500, http: 8501}\n");
  for (uint32_t shard = 0; shard < split.options.shards; ++shard) {
    absl::StrAppend(&text, "  shard-", shard, ": {serve: [", ShardName(group, shard, split.options.shards), "]}\n");
  }
  return absl::StrCat(text, "policies:\n  default: {timeout: 1s}\n");
}

absl::Status CheckSplit(const EmbeddingSplit& split, const std::string& group) {
  RETURN_IF_ERROR(CheckServableName(split.product));
  RETURN_IF_ERROR(CheckServableName(group));
  if (group == split.product)
    return absl::InvalidArgumentError(absl::StrCat("group: got '", group, "', want another name than the product's"));
  if (split.version < 1)
    return absl::InvalidArgumentError(absl::StrCat("version: got ", split.version, ", want at least 1"));
  return absl::OkStatus();
}

/// The version folders of a group that has the version already, which a split leaves that is killed before the product
/// is there; none where it has not.
absl::StatusOr<std::vector<std::string>> FoldersLeft(const std::string& group, uint32_t shards, int64_t version) {
  std::vector<std::string> folders;
  std::error_code error;
  if (!fs::is_directory(group, error)) return folders;
  RETURN_IF_ERROR(GroupStaging::CleanUp(group));
  ASSIGN_OR_RETURN(const std::vector<int64_t> whole, WholeVersions(group, shards));
  if (std::find(whole.begin(), whole.end(), version) == whole.end()) return folders;
  for (uint32_t shard = 0; shard < shards; ++shard) folders.push_back(VersionFolderOf(group, shard, shards, version));
  return folders;
}

/// Whether those are what this split writes, as far as can be told without reading rows.
absl::Status CheckLeft(const std::vector<std::string>& folders, const std::vector<TableWeight>& weights,
                       const EmbeddingOptions& options, const Digest& source) {
  for (const std::string& folder : folders) {
    const auto other = [&folder](const auto&... what) {
      return absl::AlreadyExistsError(absl::StrCat("folder '", folder, "': got ", what...,
                                                   ", want what this split writes, or nothing; choose another "
                                                   "group (group=NAME) or --version, or remove it"));
    };
    ASSIGN_OR_RETURN(const TableLookupSpec package, ReadShardPackage(folder));
    if (package.source != source) return other("tables of another model");
    if (!package.deltas.empty()) return other("a version with updates");
    ASSIGN_OR_RETURN(const auto file, ShardFile::Open(absl::StrCat(folder, "/", kShardFile)));
    if (file->tables().size() != weights.size()) return other(file->tables().size(), " tables");
    for (const TableWeight& weight : weights) {
      const EmbeddingTable* const table = file->Find(weight.weight);
      if (table == nullptr) return other("no table '", weight.weight, "'");
      const TableSpec& spec = table->spec();
      if (spec.dim != weight.dim() || spec.row_type != options.row_type || spec.unknown != options.unknown ||
          spec.id_kind != IdKind::kDense) {
        return other("table '", spec.name, "' of ", spec.dim, " numbers of ", RowTypeName(spec.row_type));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<EmbeddingSplitReport> SplitEmbeddings(const Model& model, const EmbeddingSplit& split,
                                                     const SplitProgress& progress) {
  EmbeddingSplitReport report;
  report.group = split.options.group.empty() ? absl::StrCat(split.product, "-tables") : split.options.group;
  RETURN_IF_ERROR(CheckSplit(split, report.group));
  const fs::path product = fs::path(split.out) / split.product / absl::StrCat(split.version);
  std::error_code error;
  if (fs::exists(fs::symlink_status(product, error))) {
    return absl::AlreadyExistsError(
        absl::StrCat("folder '", product.string(), "': got a package there, want none; choose another --version"));
  }
  report.product_folder = product.string();
  report.group_folder = (fs::path(split.out) / report.group).string();

  for (const auto& node : model.proto().graph().node()) {
    if (node.domain() != kPorticoDomain) continue;
    return absl::InvalidArgumentError(absl::StrCat("portal '", node.name(), "' (", node.op_type(),
                                                   "): tables can't be taken out of a model that has portals; take "
                                                   "them out of its parts"));
  }
  ASSIGN_OR_RETURN(const GraphIndex index, GraphIndex::Create(model.proto()));
  Digest source = split.provenance.source;
  if (source.empty()) {
    ASSIGN_OR_RETURN(source, ModelDigest(model));
  }
  ASSIGN_OR_RETURN(const LookupGraph lookups, FindLookups(model, index, split.options.min_bytes));
  ASSIGN_OR_RETURN(const Model rewritten, RewriteLookups(model, index, lookups, report.group, source));
  ASSIGN_OR_RETURN(const auto verifier, EmbeddingVerifier::Create(model, lookups, split.verify));
  RETURN_IF_ERROR(verifier->CheckRewriting(rewritten));
  report.rounds = verifier->rounds();
  report.skipped = verifier->skipped();
  report.notes = lookups.notes;
  report.lookups = static_cast<int>(lookups.lookups.size());
  for (const GraphLookup& lookup : lookups.lookups) report.lookup_texts.push_back(LookupText(lookups, lookup));
  report.product_bytes = rewritten.weight_bytes();
  for (const auto& node : rewritten.proto().graph().node()) {
    if (node.domain() == kPorticoDomain) ++report.portals;
  }

  ASSIGN_OR_RETURN(std::vector<std::string> folders,
                   FoldersLeft(report.group_folder, split.options.shards, split.version));
  RETURN_IF_ERROR(CheckLeft(folders, lookups.tables, split.options, source));
  // Null where the group is there and the product alone is missing.
  std::unique_ptr<GroupWriter> writer;
  if (folders.empty()) {
    GroupWriter::Options options;
    options.shards = split.options.shards;
    options.version = split.version;
    ASSIGN_OR_RETURN(writer, GroupWriter::Create(report.group_folder, options));
    RETURN_IF_ERROR(WriteTables(lookups.tables, split.options, *writer,
                                [&](uint64_t done, uint64_t all) { progress("writing", done, all); }));
    RETURN_IF_ERROR(writer->Finish());
    for (uint32_t shard = 0; shard < options.shards; ++shard) {
      folders.push_back(writer->StagedFolder(shard));
      RETURN_IF_ERROR(WriteShardPackage(folders.back(), kShardFile, {}, source));
    }
  }
  {
    ASSIGN_OR_RETURN(const auto tables, LocalTables::OfFiles(folders));
    auto checked =
        CheckTables(lookups.tables, *tables, [&](uint64_t done, uint64_t all) { progress("reading back", done, all); });
    if (!checked.ok() && writer == nullptr) {
      return absl::AlreadyExistsError(absl::StrCat("group '", report.group_folder, "': got version ", split.version,
                                                   " with other rows than this model has (", checked.status().message(),
                                                   "); choose another --version, or remove it"));
    }
    ASSIGN_OR_RETURN(report.tables, std::move(checked));
    ASSIGN_OR_RETURN(report.differences, verifier->Differences(rewritten, *tables));
  }
  FolderTransaction transaction;
  ASSIGN_OR_RETURN(const Model recorded, WithProvenance(rewritten, split.provenance));
  RETURN_IF_ERROR(transaction.Add(recorded, product));
  if (writer != nullptr) RETURN_IF_ERROR(writer->Commit());
  RETURN_IF_ERROR(transaction.Commit());
  if (const auto serving = ServingShards(report.group_folder); serving.ok() && *serving != split.options.shards) {
    report.notes.push_back(absl::StrCat("tables '", report.group, "' are served in ", *serving,
                                        " shards, as the group's file 'current' says, and not in the ",
                                        split.options.shards, " of this version: write ", split.options.shards,
                                        " there once every model that calls them is of this version"));
  }
  const fs::path mesh = fs::path(split.out) / "mesh.yaml";
  if (!fs::exists(mesh, error)) {
    RETURN_IF_ERROR(WriteFileAtomically(mesh.string(), MeshText(split, report.group)));
    report.mesh_file = mesh.string();
  }
  return report;
}

}  // namespace portico
