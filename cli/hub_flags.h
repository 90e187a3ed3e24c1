#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "hub/cache.h"
#include "hub/store.h"

namespace CLI {
class App;
}

namespace portico {

/// Flags that say which store and which cache are meant.
struct HubFlags {
  std::string store;
  std::string s3_endpoint;
  std::string cache;

  /// `from_environment`: PORTICO_HUB says it where the flag does not.
  void AddStore(CLI::App& command, bool from_environment = true);
  void AddCache(CLI::App& command);

  /// INVALID_ARGUMENT where no store was named.
  absl::StatusOr<std::unique_ptr<Store>> OpenStore() const;
  /// Progress and remarks go to standard error.
  absl::StatusOr<HubCache> OpenCache() const;
};

/// Shows how far a cache or a publication is, at a terminal; remarks in lines of their own.
class HubProgress {
 public:
  HubProgress();
  ~HubProgress();
  void Show(const std::string& what, uint64_t done, uint64_t all);
  void Say(const std::string& line);

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace portico
