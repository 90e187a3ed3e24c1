#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "node/file_follower.h"
#include "node/frontend/access.h"

namespace portico {

/// Reads the tenants of a YAML text; `file` is what messages call it. Strict: an unknown key, a hash that is none, or
/// one that is there twice is INVALID_ARGUMENT with its line. Messages never hold hashes.
///
///   tenants:
///     NAME:
///       token_sha256: [HEX, ...]       # printf %s TOKEN | sha256sum
///       priority: 0
///       roles: [admin]                 # may load, unload and configure models, and look into /debug
///       limits: {max_requests: 10, max_bytes: 1000000, requests_per_second: 100}
absl::StatusOr<TenantTable> ParseTenants(const std::string& text, const std::string& file);

/// Follows a tenants file: reads it once a period and hands on what is new. A file that is bad is logged, once, and
/// changes nothing.
class TenantsFile {
 public:
  struct Options {
    /// Empty: there is none.
    std::string path;
    absl::Duration period = absl::Seconds(2);
  };
  using OnChange = std::function<void(const TenantTable& table)>;

  TenantsFile(const Options& options, OnChange on_change);

  /// Looks once. OK where nothing is new; else what was wrong. For one thread at a time.
  absl::Status Poll() { return follower_.Poll(); }
  /// Looks once a period from now on, on a thread of its own. Once.
  void Start() { follower_.Start(); }
  /// Joins. `on_change` is not called any more.
  void Stop() { follower_.Stop(); }

 private:
  FileFollower follower_;
};

}  // namespace portico
