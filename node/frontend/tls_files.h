#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "node/file_follower.h"
#include "node/frontend/server_tls.h"

namespace portico {

/// Where the keys of a node's client listeners come from, so that they are read again when they change.
struct TlsFiles {
  /// Without paths the keys are those of the listeners' options for good.
  FileFollower::Options files;
  /// Keys out of the files' contents, in the order of the paths.
  std::function<absl::StatusOr<ServerTls>(const std::vector<std::string>& texts)> read;
};

}  // namespace portico
