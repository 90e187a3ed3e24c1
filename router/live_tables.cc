#include "router/live_tables.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "embedding/shard_map.h"
#include "router/revision.h"

namespace portico {
namespace {

/// The digest that a request for the model is answered from, in hex; "" where the revision does not say so.
std::string PinnedDigest(const Revision& revision, const Revision::Model* model) {
  if (model == nullptr || model->pins.empty() || revision.traffic.contains(model->name)) return "";
  // As RevisionView::Narrow() has it: a name without a version is the highest one.
  return model->pins.back().digest.Hex();
}

}  // namespace

const LiveTables::Picture& LiveTables::Pictures::Of(uint64_t revision) const {
  if (revision == 0) revision = current;
  const auto after = std::upper_bound(rising.begin(), rising.end(), revision,
                                      [](uint64_t number, const Picture& one) { return number < one.revision; });
  return after == rising.begin() ? *after : *std::prev(after);
}

std::shared_ptr<const LiveTables::Pictures> LiveTables::Own() const {
  Copy& copy = copies_.Own();
  MutexLock lock(&copy.mutex);
  return copy.pictures;
}

LiveTables::Found LiveTables::Find(absl::string_view group, uint64_t revision) const {
  std::shared_ptr<const Pictures> pictures = Own();
  if (pictures == nullptr) return {};
  const Picture& picture = pictures->Of(revision);
  const auto found = picture.groups.find(group);
  if (found == picture.groups.end()) return {};
  const bool exact = revision != 0 && picture.revision == revision;
  return {std::shared_ptr<const Group>(std::move(pictures), &found->second), exact};
}

uint32_t LiveTables::ShardsOf(absl::string_view group, uint64_t revision) const {
  const Found found = Find(group, revision);
  return found.group == nullptr ? 0 : found.group->shards;
}

std::vector<uint32_t> LiveTables::CountsOf(absl::string_view group) const {
  std::vector<uint32_t> counts;
  const std::shared_ptr<const Pictures> pictures = Own();
  if (pictures == nullptr) return counts;
  for (const Picture& picture : pictures->rising) {
    const auto found = picture.groups.find(group);
    if (found == picture.groups.end()) continue;
    counts.erase(std::remove(counts.begin(), counts.end(), found->second.shards), counts.end());
    counts.push_back(found->second.shards);
  }
  return counts;
}

std::vector<std::string> LiveTables::Names() const {
  std::vector<std::string> names;
  const std::shared_ptr<const Pictures> pictures = Own();
  if (pictures == nullptr) return names;
  for (const auto& [name, group] : pictures->Of(0).groups) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

std::shared_ptr<RowCache> LiveTables::CacheOf(absl::string_view group) const {
  MutexLock lock(&mutex_);
  const auto found = caches_.find(std::string(group));
  return found == caches_.end() ? nullptr : found->second.rows;
}

absl::Status LiveTables::CacheFaultOf(absl::string_view group) const {
  MutexLock lock(&mutex_);
  const auto found = caches_.find(std::string(group));
  return found == caches_.end() ? absl::OkStatus() : found->second.fault;
}

LiveTables::Known& LiveTables::KnownOf(absl::string_view group, absl::string_view table) {
  Known& known = known_[{std::string(group), std::string(table)}];
  if (known.number == 0) known.number = static_cast<uint32_t>(known_.size());
  return known;
}

uint32_t LiveTables::NumberOf(absl::string_view group, absl::string_view table) {
  MutexLock lock(&mutex_);
  return KnownOf(group, table).number;
}

std::atomic<RowType>& LiveTables::RowTypeOf(absl::string_view group, absl::string_view table) {
  MutexLock lock(&mutex_);
  return KnownOf(group, table).row_type;
}

void LiveTables::SetCaches(const std::vector<const Revision*>& live, uint64_t current) {
  std::map<std::string, Cache> next;
  const auto heed = [&](const Revision& revision) {
    for (const Revision::Table& table : revision.tables) next[table.name].bytes = table.cache_bytes;
  };
  for (const Revision* revision : live) heed(*revision);
  // Its word counts for more than that of the newest.
  for (const Revision* revision : live) {
    if (revision->number == current) heed(*revision);
  }
  for (auto& [name, cache] : next) {
    if (cache.bytes == 0) continue;
    const auto before = caches_.find(name);
    if (before != caches_.end() && before->second.bytes == cache.bytes && before->second.rows != nullptr) {
      cache.rows = before->second.rows;
      continue;
    }
    absl::StatusOr<std::shared_ptr<RowCache>> rows = RowCache::Create(cache.bytes);
    if (rows.ok()) {
      cache.rows = *std::move(rows);
    } else {
      cache.fault = rows.status();
      LogError(absl::StrCat("tables '", name, "': ", rows.status().message(), "; none of their rows are kept"));
    }
  }
  caches_ = std::move(next);
}

void LiveTables::Set(const std::vector<const Revision*>& live, uint64_t current) {
  MutexLock setting(&mutex_);
  SetCaches(live, current);
  std::map<std::pair<std::string, std::string>, uint64_t> origins;
  Pictures next;
  next.current = current;
  for (const Revision* revision : live) {
    Picture& picture = next.rising.emplace_back(Picture{revision->number, {}});
    absl::flat_hash_map<absl::string_view, const Revision::Model*> models;
    for (const Revision::Model& model : revision->models) models.emplace(model.name, &model);
    for (const Revision::Table& table : revision->tables) {
      Group& group = picture.groups[table.name];
      group.shards = table.shards;
      group.cache = caches_[table.name].rows;
      for (uint32_t shard = 0; shard < table.shards; ++shard) {
        std::string name = ShardName(table.name, shard, table.shards);
        const auto model = models.find(name);
        std::string digest = PinnedDigest(*revision, model == models.end() ? nullptr : model->second);
        if (digest.empty()) {
          group.origins.push_back(0);
          continue;
        }
        const std::pair key(std::move(name), std::move(digest));
        const auto known = origins_.find(key);
        const auto [origin, added] = origins.emplace(key, known == origins_.end() ? 0 : known->second);
        if (origin->second == 0) origin->second = ++last_origin_;
        group.origins.push_back(origin->second);
      }
    }
  }
  origins_ = std::move(origins);
  for (int i = 0; i < copies_.size(); ++i) {
    auto own = std::make_shared<const Pictures>(next);  // One per copy, so that cores do not share its count.
    MutexLock lock(&copies_[i].mutex);
    copies_[i].pictures.swap(own);
  }
}

}  // namespace portico
