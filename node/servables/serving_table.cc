#include "node/servables/serving_table.h"

#include <algorithm>

namespace portico {

std::shared_ptr<const Servable> ServingModel::Find(const ServableRef& ref) const {
  if (!ref.digest.empty()) {
    for (auto it = versions.rbegin(); it != versions.rend(); ++it) {
      if (it->second->digest() == ref.digest) return it->second;
    }
    return nullptr;
  }
  int64_t version = ref.version;
  if (!ref.label.empty()) {
    const auto label = labels.find(ref.label);
    if (label == labels.end()) return nullptr;
    version = label->second;
  }
  // Clients of OpenVINO's model server, which speak this API too, mean the default version by 0.
  if (version < 0 || (version == 0 && ref.label.empty() && versions.front().first != 0)) return versions.back().second;
  const auto found = std::lower_bound(versions.begin(), versions.end(), version,
                                      [](const auto& entry, int64_t wanted) { return entry.first < wanted; });
  return found != versions.end() && found->first == version ? found->second : nullptr;
}

std::shared_ptr<const Servable> ServingTable::Find(const ServableRef& ref) const {
  Copy& copy = copies_.Own();
  MutexLock lock(&copy.mutex);
  const auto found = copy.models.find(ref.name);
  if (found == copy.models.end()) return nullptr;
  const ServingModel& model = *found->second;
  if (model.on_demand) {
    // Requests that come close together write once.
    constexpr int64_t kPrecisionNs = 1'000'000;
    const int64_t now = absl::ToUnixNanos(clock_.Now());
    if (now - model.last_used.load(std::memory_order_relaxed) >= kPrecisionNs) {
      model.last_used.store(now, std::memory_order_relaxed);
    }
  }
  return model.Find(ref);
}

void ServingTable::Set(const std::string& name, const std::shared_ptr<const ServingModel>& model) {
  for (int i = 0; i < copies_.size(); ++i) {
    Copy& copy = copies_[i];
    std::shared_ptr<const ServingModel> old;  // Goes after the lock.
    MutexLock lock(&copy.mutex);
    if (model == nullptr) {
      const auto found = copy.models.find(name);
      if (found == copy.models.end()) continue;
      old = std::move(found->second);
      copy.models.erase(found);
    } else {
      std::shared_ptr<const ServingModel>& place = copy.models[name];
      old = std::exchange(place, model);
    }
  }
}

}  // namespace portico
