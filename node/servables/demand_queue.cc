#include "node/servables/demand_queue.h"

#include <algorithm>
#include <utility>

namespace portico {

const DemandQueue::Demand* DemandQueue::Find(const std::string& model) const {
  const auto found =
      std::find_if(queue_.begin(), queue_.end(), [&](const Demand& demand) { return demand.model == model; });
  return found == queue_.end() ? nullptr : &*found;
}

bool DemandQueue::Unmeasured(const std::string& model) const {
  const Demand* demand = Find(model);
  return demand != nullptr && !demand->bytes.has_value();
}

void DemandQueue::Insist(const std::string& model) {
  if (Demand* demand = Find(model)) demand->insisted = true;
}

void DemandQueue::Measured(const std::string& model, uint64_t bytes) {
  if (Demand* demand = Find(model)) demand->bytes = bytes;
}

DemandQueue::Step DemandQueue::Next(absl::FunctionRef<bool(const std::string& model, bool insisted)> wanted,
                                    absl::FunctionRef<std::vector<ResidentModel>()> resident) {
  for (auto it = queue_.begin(); it != queue_.end();) {
    if (!wanted(it->model, it->insisted)) {
      it = queue_.erase(it);
      continue;
    }
    if (!it->bytes.has_value()) {
      ++it;  // Its folder is being looked at; others go on.
      continue;
    }
    BudgetDecision decision = DecideLoad(budget_bytes_, it->model, *it->bytes, resident());
    Step step;
    step.unload = std::move(decision.unload);
    if (decision.possible.ok() && !decision.fits) return step;
    step.model = std::move(it->model);
    step.bytes = *it->bytes;
    step.possible = std::move(decision.possible);
    queue_.erase(it);
    return step;
  }
  return {};
}

}  // namespace portico
