#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace portico {

/// From one revision to the next: what is to be done when, judged by what nodes say. Pure: it is told the time and what
/// status files say, and says what to do; the supervisor does it.
///
///   preparing   `next` leads to the new revision, nodes load it beside the old one, new nodes start. Until all are
///               prepared (kFlip), one refuses or the time is over (kRefuse)
///   draining    `current` leads to it: requests that enter are stamped with it. Until no request of an earlier one is
///               left in a node that stays (kStopLeaving)
///   stopping    nodes that leave finish what they have and end (kRetire): `oldest` moves, and nodes forget what was
///
/// For one thread.
class Rollout {
 public:
  struct Options {
    uint64_t number = 0;
    /// Nodes of the new revision, by id; of `leaving` those that end or start anew.
    std::set<std::string> nodes;
    std::set<std::string> leaving;
    /// Of `nodes` those that were not running when it began: as long as they are not, they are not waited for. They
    /// begin with what is current then, which may be what lets them run.
    std::set<std::string> down;
    /// How long preparing may take from the start, and draining.
    absl::Time prepare_by = absl::InfiniteFuture();
    absl::Duration drain_timeout = absl::Minutes(1);
  };
  /// What a node's process and its status file say now.
  struct Node {
    std::string id;
    bool running = false;
    /// NodeStatus::Revisions; all 0 where there is no status file yet.
    uint64_t current = 0;
    uint64_t prepared = 0;
    uint64_t oldest = 0;
    uint64_t refused = 0;
    std::string why;
  };
  enum class Step { kWait, kFlip, kRefuse, kStopLeaving, kRetire };

  explicit Rollout(Options options) : options_(std::move(options)) {}

  /// What is to be done now; each step but kWait once, kRefuse and kRetire are the last. Call it again at wake().
  Step Next(const std::vector<Node>& nodes, absl::Time now);
  /// Of kRefuse: why; of kStopLeaving: who had not drained in time (empty: all had).
  const std::string& why() const { return why_; }
  /// When it is to be asked again though nothing has happened.
  absl::Time wake() const { return wake_; }
  uint64_t number() const { return options_.number; }

 private:
  enum class Phase { kPreparing, kDraining, kStopping, kOver };

  const Options options_;
  Phase phase_ = Phase::kPreparing;
  absl::Time wake_ = options_.prepare_by;
  std::string why_;
};

}  // namespace portico
