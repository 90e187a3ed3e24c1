#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "hub/handle.h"
#include "hub/manifest.h"

namespace portico {

/// What is to be published, and what is recorded of it.
struct Publication {
  Handle handle;
  /// A version folder, a folder of them, or a model file that has no others.
  std::string source;
  /// Files that travel along, as assets/NAME.
  std::vector<std::string> assets;
  std::string family;
  std::string description;
  std::string license;
  std::string tool;
};

struct PublishResult {
  Manifest manifest;
  std::string folder;
  /// It had been published before with the same content; nothing was written.
  bool was_there = false;
  /// Modules that the list leaves out, and why: their manifests cannot be read.
  std::vector<std::string> unlisted;
  /// What its portals call by digest that this store does not have: whoever pulls it has to have that from elsewhere.
  std::vector<PortalTarget> missing;
};

/// Is told how many bytes of how many have been copied; may be null.
using PublishProgress = std::function<void(uint64_t done, uint64_t all)>;

/// Copies the module into the store at folder `root`, which is made where it is missing, checks the copy, and lists it.
/// It appears whole or not at all, also when killed. Files whose names begin with a dot stay behind; symbolic links are
/// refused. One publication at a time; others wait.
///
/// ALREADY_EXISTS, with both digests, where the handle has other content: same content means the same digest,
/// signatures and other files. FAILED_PRECONDITION where signatures differ from those of the family.
absl::StatusOr<PublishResult> Publish(const std::string& root, const Publication& publication, const Clock& clock,
                                      const PublishProgress& progress = nullptr);

}  // namespace portico
