#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/digest.h"
#include "models/package/signature.h"

namespace onnx {
class NodeProto;
}

namespace portico {

/// What a node of domain `ai.portico` and op `TableLookup` says: which shard of a table group it looks up in. It calls
/// nobody, so it is no portal; its inputs and outputs are those of LookupCall. Attributes, both strings:
///   file     name of the shard file, which lies beside the model
///   content  64 hex digits, ShardLayout::content of that file: the package's digest is another when any row is
struct TableLookupSpec {
  std::string node_name;
  std::string file;
  Digest content;
  /// One for each of the node's, in order.
  std::vector<TensorSpec> outputs;
};

/// INVALID_ARGUMENT when attributes are missing, when `file` is not the plain name of a file, or when the node has
/// other inputs and outputs.
absl::StatusOr<TableLookupSpec> ReadTableLookup(const onnx::NodeProto& node);

/// What shard files are called in the packages that Portico makes.
inline constexpr absl::string_view kShardFile = "table.shard";

/// Makes a folder that has a shard file into a package: writes model.onnx, of one node TableLookup, and servable.yaml,
/// which calls its signature LookupCall::kSignature. Each file appears whole, the model last; of the shard, superblock
/// and directory are read. Example of a whole version folder, all or none:
///
///   FolderTransaction transaction;
///   ASSIGN_OR_RETURN(const auto folder, transaction.Begin("tables/clicks/0of2/1"));
///   ... writes folder / kShardFile
///   RETURN_IF_ERROR(WriteShardPackage(folder.string()));
///   RETURN_IF_ERROR(transaction.Commit());
absl::Status WriteShardPackage(const std::string& folder, absl::string_view file = kShardFile);

/// What WriteShardPackage() wrote: INVALID_ARGUMENT for a package of anything else, NOT_FOUND where there is none.
absl::StatusOr<TableLookupSpec> ReadShardPackage(const std::string& folder);

/// Where the shard file of a package lies, symbolic links resolved. INVALID_ARGUMENT for one outside the folder.
absl::StatusOr<std::string> ShardPath(const std::string& folder, const TableLookupSpec& spec);

}  // namespace portico
