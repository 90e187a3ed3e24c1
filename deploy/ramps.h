#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "router/revision.h"
#include "router/traffic_arms.h"

namespace portico {

/// What one node's process has counted; `process` differs at every start of one.
struct NodeCounts {
  std::string node;
  int64_t process = 0;
  std::vector<ArmCounts> arms;
};

/// Whether a ramp's arm has been good enough: pure. `arm` and `others`: what was counted since the step began; `others`
/// are the other arms together.
struct RampJudgement {
  enum class Verdict { kGood, kTooFew, kBad };
  Verdict verdict = Verdict::kTooFew;
  /// Of kBad: what was wrong; else what was seen.
  std::string why;
};
RampJudgement Judge(const TrafficSplit::Ramp& ramp, const ArmCounts& arm, const ArmCounts& others);

/// Leads the ramps of a mesh from step to step: watches what nodes count, and says which revision should come next,
/// with an arm that has grown or one that has been taken back. Pure: it is told the time, the current revision and the
/// counts; who owns the revisions makes what it says current. A restarted process counts from zero; only what it counts
/// counts.
///
/// For one thread.
class Ramps {
 public:
  /// `current`: the revision that requests are stamped with. The next one, where something is to change now, with the
  /// reason for people; its number is not set.
  std::optional<Revision> Next(const Revision& current, const std::vector<NodeCounts>& nodes, absl::Time now);
  /// When to ask again at the latest; the infinite future while no ramp runs.
  static absl::Time Wake(const Revision& current, absl::Time now);
  /// What people may want to know, said once each: "ramp of 'digit' to '2': 5 %: waits for …". Taken by the call.
  std::vector<std::string> TakeNews();

 private:
  /// One ramp's step under watch.
  struct Watch {
    TrafficSplit::Ramp ramp;
    absl::Time since;
    /// What was counted before, and since, by node and arm.
    struct Seen {
      int64_t process = 0;
      ArmCounts last;
    };
    std::map<std::pair<std::string, std::string>, Seen> seen;
    std::map<std::string, ArmCounts> sums;
    bool said_it_waits = false;
  };

  static void Count(const std::string& model, const std::vector<NodeCounts>& nodes, bool first, Watch* watch);

  std::map<std::string, Watch> watches_;
  /// Of a step in which others had requests: what the last one, which leaves them none, is held against.
  std::map<std::string, ArmCounts> others_before_;
  std::vector<std::string> news_;
};

/// Ends all ramps that run, where they are: somebody has gone back.
void StopRamps(const std::string& why, Revision* revision);

}  // namespace portico
