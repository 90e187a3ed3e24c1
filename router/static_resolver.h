#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "router/resolver.h"
#include "router/resolver_watches.h"

namespace portico {

/// Answers from a table: what a node was told in its revision. Who owns it may exchange the table. Thread-safe.
class StaticResolver final : public Resolver {
 public:
  /// Target → nodes.
  using Table = std::map<std::string, std::vector<PeerAddress>, std::less<>>;

  explicit StaticResolver(Table table) : table_(std::move(table)) {}
  /// Target → endpoints.
  explicit StaticResolver(const std::map<std::string, std::vector<std::string>>& table);

  /// Answers from `table` from now on. What watches do, connecting to new nodes for one, is done when it returns.
  void Update(Table table);

  std::vector<PeerAddress> Resolve(absl::string_view servable) const override;
  std::unique_ptr<Watch> WatchChanges(std::function<void()> changed) const override;

 private:
  mutable ResolverWatches watches_;
  mutable Mutex mutex_;
  Table table_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
