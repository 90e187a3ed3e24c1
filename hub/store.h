#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/digest.h"
#include "hub/handle.h"
#include "hub/manifest.h"

namespace portico {

/// What a list of a store says of a module.
struct ModuleEntry {
  Handle handle;
  Digest digest;
  std::string family;
  uint64_t bytes = 0;
};

/// Where published modules lie: ROOT/publisher/name/version with a manifest.json each. Reads alone: publish.h writes.
/// For one thread at a time. Calls block.
class Store {
 public:
  /// Takes bytes of a file that stand at `at`. Not OK: reading ends with that.
  using Sink = absl::FunctionRef<absl::Status(uint64_t at, absl::string_view bytes)>;

  virtual ~Store() = default;
  /// As it was opened; absolute where it is a folder.
  virtual const std::string& url() const = 0;
  /// The same with what else says which store it is: s3://models is another one on another server.
  virtual std::string origin() const { return url(); }
  /// All modules, rising by handle.
  virtual absl::StatusOr<std::vector<ModuleEntry>> List() = 0;
  /// Gives `sink` the file from `offset` on, in order; all of it where the store cannot begin in the middle. NOT_FOUND
  /// where it has no such module or file; UNAVAILABLE where trying again may help.
  virtual absl::Status Read(const Handle& handle, const std::string& file, uint64_t offset, Sink sink) = 0;
};

struct StoreOptions {
  /// Where s3:// is, "http://127.0.0.1:9000"; empty: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or AWS itself.
  std::string s3_endpoint;
  /// Asked now and again while a server is waited for: true ends the call with CANCELLED. May be null.
  std::function<bool()> cancelled;
};

/// A folder's path or file:///PATH, http://HOST:PORT/PREFIX or https://, s3://BUCKET/PREFIX. Contacts nobody; a folder
/// must be there, or it is NOT_FOUND. INVALID_ARGUMENT for anything else.
absl::StatusOr<std::unique_ptr<Store>> OpenStore(const std::string& url, const StoreOptions& options = {});

/// The folder that is meant where a store is in one: a path, or file:///PATH. INVALID_ARGUMENT for a scheme.
absl::StatusOr<std::string> StoreFolder(absl::string_view url);

/// Whether asking again may help: UNAVAILABLE, DEADLINE_EXCEEDED.
inline bool MayPass(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

/// The manifest as it lies there, at most Manifest::kMaxBytes. NOT_FOUND with what the store has instead, and the
/// remedy.
absl::StatusOr<std::string> ReadManifestText(Store& store, const Handle& handle);
/// The same parsed; INVALID_ARGUMENT also where it is another module's.
absl::StatusOr<Manifest> ReadManifest(Store& store, const Handle& handle);
absl::StatusOr<Manifest> ParseManifestOf(const Store& store, const Handle& handle, absl::string_view text);

/// What a person who asked for `handle` may have meant, for messages: " 'STORE' has versions 1, 2 of it; …".
std::string NearestModules(const Handle& handle, const std::vector<ModuleEntry>& entries);

}  // namespace portico
