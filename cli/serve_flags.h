#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "node/node.h"

namespace CLI {
class App;
}

namespace portico {

/// A group of flags of `portico serve`: what they are called, and what they make of the node's options. One file per
/// group, one line in AllServeFlags().
class ServeFlags {
 public:
  virtual ~ServeFlags() = default;
  virtual void AddTo(CLI::App& command) = 0;
  /// After parsing. `options` holds what the command line's models and addresses, or the mesh's revision, and earlier
  /// groups say. INVALID_ARGUMENT "--flag: got …, want …".
  virtual absl::Status Apply(Node::Options* options) const = 0;
  /// Those of its flags that were given but are for a mesh's revision to decide; they are refused beside --revision.
  virtual std::vector<std::string> GivenMeshFlags() const { return {}; }
};

/// Every group, in the order in which they are applied.
std::vector<std::unique_ptr<ServeFlags>> AllServeFlags();

}  // namespace portico
