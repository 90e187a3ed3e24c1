#pragma once

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/mesh_child.h"

namespace portico::examples {

/// What all nodes together use for one row, in µs of CPU: `ask` asks about `rows` rows and is called by four threads
/// for a second or so. Frontends, portals and idle work of the nodes are in it; the client is not.
absl::StatusOr<double> CpuMicrosPerRow(const MeshChild& mesh, int64_t rows, absl::FunctionRef<absl::Status()> ask);

/// The sum of a counter over its labels, from /metrics of the node at `http`; those whose labels contain `label` only.
absl::StatusOr<double> CounterSum(const std::string& http, const std::string& name, const std::string& label);

}  // namespace portico::examples
