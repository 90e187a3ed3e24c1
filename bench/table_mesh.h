#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/mutex.h"
#include "base/request_context.h"
#include "deploy/package_reader.h"
#include "deploy/process.h"
#include "deploy/run_folder.h"
#include "node/node.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {

/// Rows of the table `rows` of every group here: sparse ids, float32.
inline constexpr size_t kWireDim = 64;
inline constexpr char kWireTable[] = "rows";
inline int64_t WireId(size_t row) { return static_cast<int64_t>(row * 0x9e3779b97f4a7c15ull); }

/// `build/portico`, which lies beside this program.
std::string PorticoPath();

/// A number of the environment, or `value`. CHECKs that it is at least `least`.
uint64_t Setting(const char* name, uint64_t value, uint64_t least);

/// Writes a group of one table into `folder`/`group`, version 1 of all shards. `each`: called with the rows as they go
/// in, some at a time.
void BuildWireGroup(const std::string& folder, const std::string& group, uint32_t shards, size_t rows,
                    const std::function<void(absl::Span<const int64_t>, absl::Span<const float>)>& each = nullptr);

/// A mesh of real nodes: for each shard number a process `portico serve` that has that shard of every group, and in
/// this process the node that calls them. Its models are one EmbeddingBag each: `oneS`, ids [N] to rows, and `sumS`,
/// ids [N,L] to sums, in group `gS` of S shards. Started by a run folder as `portico up` would; new versions of the
/// groups are rolled out as it would. For one thread, but for the node and NewRequest().
class TableMesh {
 public:
  /// `folder` has the groups (BuildWireGroup) gS for each of `shards`; this writes its models beside them. `cache_mib`:
  /// of the rows that the caller keeps of each group.
  TableMesh(const std::string& folder, const std::vector<uint32_t>& shards, bool tcp, uint64_t cache_mib = 0);
  ~TableMesh();

  Node& caller() { return *caller_; }
  /// Of a request that enters now: stamped with the current revision, which is held until it is done. From any thread.
  Ref<RequestContext> NewRequest() const;
  /// Of the processes that serve shards.
  std::vector<pid_t> pids() const;

  /// Rolls out the versions of the groups that are new: prepared everywhere, then flipped, then the old ones go.
  /// Blocks.
  void RollOut();

 private:
  absl::StatusOr<Revision> ReadMesh();
  /// Blocks until every node says so.
  void Await(const std::function<bool(uint64_t prepared, uint64_t current, uint64_t oldest)>& condition);
  void OnState(const RevisionState& state);

  const std::string mesh_file_;
  PackageReader packages_;
  /// Sockets: a short path.
  const TempFolder run_{"/tmp"};
  std::unique_ptr<RunFolder> run_folder_;
  Revision revision_;
  std::vector<std::unique_ptr<Process>> servers_;
  std::vector<std::string> status_files_;
  mutable Mutex mutex_;
  /// What the caller's node says of itself.
  RevisionState state_ ABSL_GUARDED_BY(mutex_);
  /// Had by all requests of the current revision.
  std::shared_ptr<const void> hold_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Node> caller_;
};

}  // namespace portico::bench
