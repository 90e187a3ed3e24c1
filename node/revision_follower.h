#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "router/live_revisions.h"
#include "router/revision.h"
#include "router/revision_pointers.h"

namespace portico {

/// Where a node stands with its mesh's revisions, as its status file tells the supervisor. A value.
struct RevisionState {
  /// With which requests that enter here are stamped.
  uint64_t current = 0;
  /// The latest whose versions are loaded and whose portals reach their targets: calls of it are answered.
  uint64_t prepared = 0;
  /// The earliest that a request which entered here still has; 0: none has any.
  uint64_t oldest = 0;
  /// The latest that could not be prepared, and why; 0: none.
  uint64_t refused = 0;
  std::string why;
  friend bool operator==(const RevisionState&, const RevisionState&) = default;
};

/// What a node does with revisions. Called on one thread at a time.
class RevisionUser {
 public:
  virtual ~RevisionUser() = default;
  /// From now on the node holds all that `live` (rising, at least one) say of `node`. Begins to load what is missing.
  virtual absl::Status Hold(const std::vector<const Revision*>& live, const Revision& current) = 0;
  /// Whether it can answer from `revision`, one of those it holds: OK, or why it never will; nothing while that is on
  /// its way.
  virtual std::optional<absl::Status> Prepared(const Revision& revision) = 0;
};

/// Follows the pointers of a run folder (RevisionPointers): prepares the next revision beside the current one, stamps
/// requests with it once the pointer moves, and lets go of old ones when no request can have them any more. A pointer
/// that is a plain file, in a container say, is followed by content: the node prepares on its own, and lets go when its
/// own requests are done and some time has passed.
///
/// It works on one thread of its own; inotify wakes it, and a poll where that says nothing.
class RevisionFollower {
 public:
  struct Options {
    /// RUN/current, or a document; empty: the node is of no mesh.
    std::string pointer;
    std::string node;
    int replica = 0;
    absl::Duration period = absl::Milliseconds(500);
    /// How long an old revision is held at least where nobody else says: calls of it may come from other nodes.
    absl::Duration grace = absl::Seconds(30);
    /// Called on its thread, with each state that is new; may write files.
    std::function<void(const RevisionState& state)> on_change;
  };

  /// `live`, `user` and `clock` are not owned and must outlive it.
  RevisionFollower(Options options, LiveRevisions& live, RevisionUser& user, const Clock& clock);
  /// Stops.
  ~RevisionFollower();

  /// Reads what is there now and has the user hold it; calls of it are answered as far as it is loaded. Then, once all
  /// of it has loaded or failed, Start().
  absl::Status Begin();
  /// Requests are stamped from now on, and pointers followed.
  void Start();
  /// Joins.
  void Stop();

 private:
  struct Held {
    Revision revision;
    /// Calls of it are answered.
    bool prepared = false;
    /// When another one became current; the infinite future: not yet.
    absl::Time superseded = absl::InfiniteFuture();
  };

  void Run();
  /// One look at the pointers, and what follows from it.
  void Look();
  absl::StatusOr<RevisionPointers> ReadPointers();
  /// What is to be held, by number, read where it is new.
  std::map<uint64_t, std::shared_ptr<Held>> Wanted(const RevisionPointers& pointers);
  std::shared_ptr<Held> Read(const std::string& path, uint64_t number);
  /// The one of those held that requests are to be stamped with; null: none of them.
  Held* Current(const RevisionPointers& pointers) const;
  void HoldAll(const RevisionPointers& pointers);
  void Prepare();
  void Answer(Held& held);
  void Flip(Held& held);
  void Refuse(uint64_t number, const absl::Status& why);
  void Tell();
  bool Busy() const;

  const Options options_;
  LiveRevisions& live_;
  RevisionUser& user_;
  const Clock& clock_;
  /// For the thread, and Begin() before it.
  std::map<uint64_t, std::shared_ptr<Held>> held_;
  /// As the user was told last.
  std::pair<std::vector<uint64_t>, uint64_t> told_;
  std::map<uint64_t, std::string> refused_;
  /// Documents that are not this node's business.
  uint64_t absent_ = 0;
  RevisionState state_;
  std::string last_error_;
  int notices_ = -1;
  int wake_ = -1;
  std::thread thread_;
};

}  // namespace portico
