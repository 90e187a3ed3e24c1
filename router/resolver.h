#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace portico {

/// Revisions from one to another, both included.
struct RevisionSpan {
  uint64_t first = 0;
  uint64_t last = UINT64_MAX;

  /// `revision` 0: a request that is of none.
  bool Has(uint64_t revision) const { return revision == 0 || (first <= revision && revision <= last); }
  friend bool operator==(const RevisionSpan&, const RevisionSpan&) = default;
};

/// How one node is reached by its peers, and where it stands.
struct PeerAddress {
  PeerAddress() = default;
  PeerAddress(std::string u, std::string z = "") : url(std::move(u)), zone(std::move(z)) {}  // NOLINT: mostly a URL
  PeerAddress(const char* u) : url(u) {}                                                     // NOLINT: the same

  std::string url;
  /// Empty: not known.
  std::string zone;
  /// Requests of which revisions it answers.
  RevisionSpan revisions;

  friend bool operator==(const PeerAddress&, const PeerAddress&) = default;
};

/// Says who may serve a target, now and after each change. Thread-safe.
class Resolver {
 public:
  /// While it lives, changes are told. Its end waits for a call that is under way, so it does not end within one.
  class Watch {
   public:
    virtual ~Watch() = default;
  };

  virtual ~Resolver() = default;
  /// The nodes that should serve `servable`, in a stable order; empty when nobody does. Never blocks.
  virtual std::vector<PeerAddress> Resolve(absl::string_view servable) const = 0;
  /// Calls `changed` after each change of what Resolve() says, one call at a time, on the thread that brings the news.
  /// It may call Resolve(), and must not make or end watches.
  virtual std::unique_ptr<Watch> WatchChanges(std::function<void()> changed) const = 0;
};

}  // namespace portico
