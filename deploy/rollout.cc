#include "deploy/rollout.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace portico {

Rollout::Step Rollout::Next(const std::vector<Node>& nodes, absl::Time now) {
  const auto find = [&](const std::string& id) {
    const auto node = std::find_if(nodes.begin(), nodes.end(), [&](const Node& one) { return one.id == id; });
    return node == nodes.end() ? nullptr : &*node;
  };
  std::vector<std::string> behind;
  switch (phase_) {
    case Phase::kPreparing:
      for (const std::string& id : options_.nodes) {
        const Node* node = find(id);
        if (node != nullptr && node->running && node->refused == options_.number) {
          why_ = absl::StrCat("node '", id, "': ", node->why);
          phase_ = Phase::kOver;
          return Step::kRefuse;
        }
        if (node != nullptr && !node->running && options_.down.contains(id)) continue;
        if (node == nullptr || !node->running || node->prepared < options_.number) behind.push_back(id);
      }
      if (behind.empty()) {
        phase_ = Phase::kDraining;
        wake_ = now + options_.drain_timeout;
        return Step::kFlip;
      }
      if (now < options_.prepare_by) return Step::kWait;
      why_ = absl::StrCat("got it not prepared in time by ", absl::StrJoin(behind, ", "));
      phase_ = Phase::kOver;
      return Step::kRefuse;
    case Phase::kDraining:
      for (const std::string& id : options_.nodes) {
        const Node* node = find(id);
        // One that has crashed has no requests, and begins with the new revision.
        if (node == nullptr || !node->running) continue;
        if (node->current < options_.number || node->oldest < options_.number) behind.push_back(id);
      }
      if (!behind.empty() && now < wake_) return Step::kWait;
      why_ = absl::StrJoin(behind, ", ");
      phase_ = Phase::kStopping;
      wake_ = absl::InfiniteFuture();
      return Step::kStopLeaving;
    case Phase::kStopping:
      for (const std::string& id : options_.leaving) {
        const Node* node = find(id);
        if (node != nullptr && node->running) return Step::kWait;
      }
      phase_ = Phase::kOver;
      return Step::kRetire;
    case Phase::kOver:
      break;
  }
  return Step::kWait;
}

}  // namespace portico
