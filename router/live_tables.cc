#include "router/live_tables.h"

#include <algorithm>
#include <utility>

#include "router/revision.h"

namespace portico {

const LiveTables::Groups& LiveTables::Pictures::Of(uint64_t revision) const {
  if (revision == 0) revision = current;
  const auto after = std::upper_bound(rising.begin(), rising.end(), revision,
                                      [](uint64_t number, const Picture& one) { return number < one.revision; });
  return (after == rising.begin() ? *after : *std::prev(after)).groups;
}

std::shared_ptr<const LiveTables::Pictures> LiveTables::Own() const {
  Copy& copy = copies_.Own();
  MutexLock lock(&copy.mutex);
  return copy.pictures;
}

uint32_t LiveTables::ShardsOf(absl::string_view group, uint64_t revision) const {
  Copy& copy = copies_.Own();
  MutexLock lock(&copy.mutex);
  if (copy.pictures == nullptr) return 0;
  const Groups& groups = copy.pictures->Of(revision);
  const auto found = groups.find(group);
  return found == groups.end() ? 0 : found->second;
}

std::vector<uint32_t> LiveTables::CountsOf(absl::string_view group) const {
  std::vector<uint32_t> counts;
  const std::shared_ptr<const Pictures> pictures = Own();
  if (pictures == nullptr) return counts;
  for (const Picture& picture : pictures->rising) {
    const auto found = picture.groups.find(group);
    if (found == picture.groups.end()) continue;
    counts.erase(std::remove(counts.begin(), counts.end(), found->second), counts.end());
    counts.push_back(found->second);
  }
  return counts;
}

std::vector<std::string> LiveTables::Names() const {
  std::vector<std::string> names;
  const std::shared_ptr<const Pictures> pictures = Own();
  if (pictures == nullptr) return names;
  for (const auto& [name, shards] : pictures->Of(0)) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

void LiveTables::Set(const std::vector<const Revision*>& live, uint64_t current) {
  Pictures next;
  next.current = current;
  for (const Revision* revision : live) {
    Picture& picture = next.rising.emplace_back(Picture{revision->number, {}});
    for (const Revision::Table& table : revision->tables) picture.groups[table.name] = table.shards;
  }
  for (int i = 0; i < copies_.size(); ++i) {
    auto own = std::make_shared<const Pictures>(next);  // One per copy, so that cores do not share its count.
    MutexLock lock(&copies_[i].mutex);
    copies_[i].pictures.swap(own);
  }
}

}  // namespace portico
