#include "node/servables/settled_waiters.h"

#include <utility>

namespace portico {

uint64_t SettledWaiters::Add(Model model, Done done) {
  waiters_.emplace(++last_, Waiter{std::move(model), std::move(done)});
  return last_;
}

std::vector<SettledWaiters::Finished> SettledWaiters::Take(
    absl::FunctionRef<std::optional<absl::Status>(const Model&)> settled) {
  std::vector<Finished> finished;
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    std::optional<absl::Status> status = settled(it->second.model);
    if (!status.has_value()) {
      ++it;
      continue;
    }
    finished.push_back({std::move(it->second.done), *std::move(status)});
    it = waiters_.erase(it);
  }
  return finished;
}

std::optional<SettledWaiters::Finished> SettledWaiters::TakeOne(uint64_t id,
                                                                absl::FunctionRef<absl::Status(const Model&)> status) {
  const auto found = waiters_.find(id);
  if (found == waiters_.end()) return std::nullopt;
  Finished finished{std::move(found->second.done), status(found->second.model)};
  waiters_.erase(found);
  return finished;
}

}  // namespace portico
