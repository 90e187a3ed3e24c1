#include "router/etcd/mirror.h"

#include <pthread.h>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace portico {

EtcdMirror::EtcdMirror(Options options, EtcdClient& client, MetricRegistry& metrics)
    : options_(std::move(options)),
      client_(client),
      metrics_(metrics),
      connected_metric_(metrics_.NewGauge("portico_etcd_connected", "1 while keys below the prefix are watched",
                                          {{"prefix", options_.prefix}})),
      listings_metric_(metrics_.NewCounter("portico_etcd_listings_total", "Times that keys were listed as a whole",
                                           {{"prefix", options_.prefix}})),
      failures_metric_(metrics_.NewCounter("portico_etcd_failures_total", "Listings and watches that failed or ended",
                                           {{"prefix", options_.prefix}})),
      thread_([this] { Run(); }) {}

EtcdMirror::~EtcdMirror() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    if (watch_ != nullptr) watch_->Cancel();
    changed_.NotifyAll();
  }
  thread_.join();
}

bool EtcdMirror::WaitForFirst(absl::Duration timeout) {
  const absl::Time until = absl::Now() + timeout;
  MutexLock lock(&mutex_);
  while (!told_ && absl::Now() < until) changed_.WaitFor(&mutex_, until - absl::Now());
  return told_;
}

void EtcdMirror::Run() {
  pthread_setname_np(pthread_self(), "etcd-mirror");
  std::minstd_rand random(std::random_device{}());
  absl::Duration delay = options_.retry_delay;
  for (;;) {
    bool worked = false;
    const absl::Status status = Follow(&worked);
    connected_metric_.Set(0);
    {
      MutexLock lock(&mutex_);
      if (stopping_) return;
    }
    failures_metric_.Increment();
    if (worked) delay = options_.retry_delay;
    // Another listing, not another time.
    const bool at_once = worked && absl::IsOutOfRange(status);
    if (absl::IsOutOfRange(status)) revision_ = 0;
    if (!at_once) {
      Say(status);
      // Nodes that lost etcd together do not come back together.
      const double part = std::uniform_real_distribution<>(0.5, 1)(random);
      if (!Sleep(delay * part)) return;
      delay = std::min(delay * 2, options_.longest_retry_delay);
    }
  }
}

absl::Status EtcdMirror::Follow(bool* worked) {
  if (revision_ == 0) {
    RETURN_IF_ERROR(List());
    *worked = true;
  }
  const std::unique_ptr<EtcdWatch> watch = client_.Watch(options_.prefix, revision_ + 1);
  {
    MutexLock lock(&mutex_);
    if (stopping_) return absl::CancelledError("stopping");
    watch_ = watch.get();
  }
  const absl::Cleanup forget = [this] {
    MutexLock lock(&mutex_);
    watch_ = nullptr;
  };
  for (bool first = true;; first = false) {
    ASSIGN_OR_RETURN(EtcdNews news, watch->Next());
    if (news.cluster != cluster_ || news.revision < revision_) {
      // Changes of this store have nothing to do with what we have.
      *worked = *worked || first;
      return absl::OutOfRangeError(absl::StrCat("etcd: got revision ", news.revision, " of cluster ", news.cluster,
                                                ", want one after ", revision_, " of ", cluster_));
    }
    *worked = true;
    connected_metric_.Set(1);
    Say(absl::OkStatus());
    Apply(std::move(news));
  }
}

absl::Status EtcdMirror::List() {
  ASSIGN_OR_RETURN(EtcdClient::Listing listing, client_.List(options_.prefix));
  listings_metric_.Increment();
  Entries entries;
  for (EtcdEntry& entry : listing.entries) {
    entries.emplace(entry.key.substr(options_.prefix.size()), std::move(entry.value));
  }
  revision_ = seen_ = listing.revision;
  cluster_ = listing.cluster;
  bool told;
  {
    MutexLock lock(&mutex_);
    told = told_;
  }
  if (told && entries == entries_) return absl::OkStatus();
  entries_ = std::move(entries);
  if (options_.on_change) options_.on_change(entries_);
  MutexLock lock(&mutex_);
  told_ = true;
  changed_.NotifyAll();
  return absl::OkStatus();
}

void EtcdMirror::Apply(EtcdNews news) {
  for (EtcdNews::Change& change : news.changes) {
    // Not the store's own: more changes up to that may be on their way.
    seen_ = std::max(seen_, change.entry.mod_revision);
    std::string key = change.entry.key.substr(options_.prefix.size());
    if (change.deleted) {
      untold_ |= entries_.erase(key) > 0;
      continue;
    }
    std::string& value = entries_[std::move(key)];
    untold_ |= value != change.entry.value;
    value = std::move(change.entry.value);
  }
  if (news.partial) return;
  revision_ = std::max(revision_, seen_);
  if (std::exchange(untold_, false) && options_.on_change) options_.on_change(entries_);
}

void EtcdMirror::Say(const absl::Status& status) {
  const bool away = !status.ok();
  if (away_ == away) return;
  away_ = away;
  if (away) {
    LogWarning(absl::StrCat("keys below '", options_.prefix, "': ", status.message(), "; going on with the ",
                            entries_.size(), " known"));
  } else {
    LogInfo(absl::StrCat("keys below '", options_.prefix, "': etcd is back"));
  }
}

bool EtcdMirror::Sleep(absl::Duration delay) {
  const absl::Time until = absl::Now() + delay;
  MutexLock lock(&mutex_);
  while (!stopping_ && absl::Now() < until) changed_.WaitFor(&mutex_, until - absl::Now());
  return !stopping_;
}

}  // namespace portico
