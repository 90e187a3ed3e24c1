#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/digest.h"
#include "embedding/group_shards.h"
#include "embedding/shard_versions.h"
#include "models/package/signature.h"

namespace onnx {
class NodeProto;
}

namespace portico {

/// What a node of domain `ai.portico` and op `TableLookup` says: which shard of a table group it looks up in. It calls
/// nobody, so it is no portal; its inputs and outputs are those of LookupCall. Attributes, strings and
/// lists of strings:
///   file            name of the shard file, which lies beside the model
///   content         64 hex digits, ShardLayout::content of that file: the package's digest is another when any row is
///   deltas          names of the delta files on top of it, in their order; missing: none
///   delta_contents  64 hex digits for each of those: SHA-256 of the file
///   source          64 hex digits, the digest of the model that the tables were taken out of; missing: not known. It
///                   stays with all versions that updates make of them; what another model's portals say differs
struct TableLookupSpec {
  std::string node_name;
  std::string file;
  Digest content;
  struct Delta {
    std::string file;
    Digest content;
  };
  std::vector<Delta> deltas;
  /// Empty: not known.
  Digest source;
  /// One for each of the node's, in order.
  std::vector<TensorSpec> outputs;
};

/// INVALID_ARGUMENT when attributes are missing, when `file` is not the plain name of a file, or when the node has
/// other inputs and outputs.
absl::StatusOr<TableLookupSpec> ReadTableLookup(const onnx::NodeProto& node);

/// Makes a folder that has a shard file into a package: writes model.onnx, of one node TableLookup, and servable.yaml,
/// which calls its signature LookupCall::kSignature. Each file appears whole, the model last; of the shard, superblock
/// and directory are read. Example of a whole version folder, all or none:
///
///   FolderTransaction transaction;
///   ASSIGN_OR_RETURN(const auto folder, transaction.Begin("tables/clicks/0of2/1"));
///   ... writes folder / kShardFile
///   RETURN_IF_ERROR(WriteShardPackage(folder.string()));
///   RETURN_IF_ERROR(transaction.Commit());
absl::Status WriteShardPackage(const std::string& folder, absl::string_view file = kShardFile,
                               const std::vector<TableLookupSpec::Delta>& deltas = {}, const Digest& source = {});

/// What WriteShardPackage() wrote: INVALID_ARGUMENT for a package of anything else, NOT_FOUND where there is none.
absl::StatusOr<TableLookupSpec> ReadShardPackage(const std::string& folder);

/// Base and deltas of a package, with where they lie. Errors are those of ReadShardPackage() and ShardPath().
absl::StatusOr<ShardParts> ReadShardParts(const std::string& folder);
absl::StatusOr<ShardParts> ShardPartsOf(const std::string& folder, const TableLookupSpec& spec);
/// The version of a shard that a version folder has: what a server looks up in. Shares what it can with the versions
/// that `store` has open.
absl::StatusOr<std::shared_ptr<const ShardVersion>> OpenShardVersion(const std::string& folder, ShardStore& store);

/// Where the shard file of a package lies, symbolic links resolved. INVALID_ARGUMENT for one outside the folder.
absl::StatusOr<std::string> ShardPath(const std::string& folder, const TableLookupSpec& spec);

}  // namespace portico
