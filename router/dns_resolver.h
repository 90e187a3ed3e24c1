#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "router/resolver.h"
#include "router/resolver_watches.h"

namespace portico {

/// Answers as another resolver does, with every `dns+SCHEME://HOST:PORT` replaced by one `SCHEME://ADDRESS:PORT` per
/// address that HOST has now: a headless service, say. Names are looked up when they first turn up and every period
/// from then on, on a thread of its own, which starts with the first name. A look-up that fails keeps the last answer;
/// a name without any answer yet has no nodes. Thread-safe.
class DnsResolver final : public Resolver {
 public:
  /// Addresses of a host, "10.0.0.1", "fd00::1". Blocks.
  using Lookup = std::function<absl::StatusOr<std::vector<std::string>>(const std::string& host)>;
  struct Options {
    absl::Duration period = absl::Seconds(5);
    /// Empty: the system's.
    Lookup lookup;
  };

  /// `inner` is not owned and must outlive this.
  DnsResolver(const Resolver& inner, Options options);
  ~DnsResolver() override;

  std::vector<PeerAddress> Resolve(absl::string_view servable) const override;
  std::unique_ptr<Watch> WatchChanges(std::function<void()> changed) const override;

 private:
  struct Name {
    std::vector<std::string> addresses;
    /// Of a failure that was logged: once, until it works again.
    bool failing = false;
    bool fresh = true;
  };

  void Run() const;
  /// Looks up those that are new, or all. True where an answer changed.
  bool LookUp(bool all) const;

  const Resolver& inner_;
  const absl::Duration period_;
  const Lookup lookup_;
  mutable ResolverWatches watches_;
  mutable Mutex mutex_;
  mutable CondVar wake_;
  mutable std::map<std::string, Name> names_ ABSL_GUARDED_BY(mutex_);
  mutable std::thread thread_ ABSL_GUARDED_BY(mutex_);
  mutable bool any_fresh_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  /// Passes on what the inner one tells. Last: it is told while all else is there.
  std::unique_ptr<Watch> inner_watch_;
};

}  // namespace portico
