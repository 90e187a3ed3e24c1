#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/digest.h"
#include "hub/handle.h"
#include "models/graph/portal_target.h"
#include "models/package/provenance.h"
#include "models/package/signature.h"

namespace portico {

inline constexpr char kManifestFile[] = "manifest.json";

/// A file of a module.
struct ModuleFile {
  /// Relative, parts between '/': "model.onnx", "assets/words.txt".
  std::string path;
  uint64_t bytes = 0;
  /// As `sha256sum` prints it.
  Digest sha256;

  friend bool operator==(const ModuleFile&, const ModuleFile&) = default;
};

/// What is recorded when a module is published, and never changes: manifest.json in its folder (docs/hub.md).
struct Manifest {
  static constexpr uint64_t kMaxBytes = uint64_t{4} << 20;
  static constexpr size_t kMaxFiles = 4096;
  static constexpr size_t kMaxTextBytes = 4096;

  Handle handle;
  /// Of structure and weights, Package::digest.
  Digest digest;
  /// Modules of one family have the same signatures; empty: of none.
  std::string family;
  std::string description;
  std::string license;
  absl::Time published;
  /// Who published it: "portico 0.1.0 (commit …)".
  std::string tool;
  /// What the model said of where it comes from.
  Provenance provenance;
  /// model.onnx among them; by path, rising.
  std::vector<ModuleFile> files;
  std::vector<Signature> signatures;
  /// What its portals call.
  std::vector<PortalTarget> portals;

  /// Of all files, the manifest's own not counted.
  uint64_t bytes() const;
  /// nullptr where there is no such file.
  const ModuleFile* FindFile(absl::string_view path) const;
};

std::string FormatManifest(const Manifest& manifest);

/// Checks everything before it is believed: paths that stay in the folder and differ, sizes and counts within bounds,
/// names that may be. INVALID_ARGUMENT "manifest: what: got, want".
absl::StatusOr<Manifest> ParseManifest(absl::string_view text);

/// INVALID_ARGUMENT unless `path` may be a module's file: at most 512 bytes and 8 parts, none of them empty or
/// beginning with a dot, no backslash, no control characters, and not the manifest's own name.
absl::Status CheckModulePath(absl::string_view path);

}  // namespace portico
