#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/package/package.h"

namespace portico {

/// What a servable.yaml says, before it is held against the model beside it (package.h shows the format).
struct ServableConfig {
  struct Tensor {
    /// What callers say.
    std::string name;
    /// The tensor of the graph.
    std::string graph_name;
    std::optional<AxisKind> axis;
    /// Of an input whose axis is ragged: how its rows are divided, and by which input. kNone: it divides others.
    RowPartition partition = RowPartition::kNone;
    std::string partition_input;
    int line = 0;
  };
  struct Signature {
    std::string name;
    /// None: the graph's.
    std::optional<std::vector<Tensor>> inputs;
    std::optional<std::vector<Tensor>> outputs;
    int line = 0;
  };
  std::vector<Signature> signatures;
  BatchingOptions batching;
  int intra_op_threads = 1;
  int max_workers = 0;
  int64_t result_cache_mib = 0;
};

/// Errors read "path:line: subject 'x': got ..., want ...". A missing file is NOT_FOUND.
absl::StatusOr<ServableConfig> ReadServableConfig(const std::string& path);

}  // namespace portico
