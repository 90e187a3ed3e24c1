#include "node/servables/folder_watcher.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/time/clock.h"

namespace portico {
namespace {

constexpr uint32_t kEvents = IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF;
/// Folders change several entries at a time.
constexpr absl::Duration kSettle = absl::Milliseconds(5);

}  // namespace

FolderWatcher::FolderWatcher(Options options, OnListed on_listed)
    : options_(options),
      on_listed_(std::move(on_listed)),
      notices_(options.period > absl::ZeroDuration() ? inotify_init1(IN_NONBLOCK | IN_CLOEXEC) : -1),
      wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "watcher");
    Run();
  });
}

FolderWatcher::~FolderWatcher() {
  Stop();
  if (notices_ >= 0) close(notices_);
  if (wake_ >= 0) close(wake_);
}

void FolderWatcher::Watch(const std::string& name, const std::string& base, uint64_t number) {
  MutexLock lock(&mutex_);
  Folder& folder = folders_[name];
  if (folder.base != base) DropNotice(name, folder);
  folder.base = base;
  folder.number = number;
  SetDue(name, folder, absl::InfinitePast());
  Wake();
}

void FolderWatcher::Forget(const std::string& name) {
  MutexLock lock(&mutex_);
  const auto found = folders_.find(name);
  if (found == folders_.end()) return;
  DropNotice(name, found->second);
  due_.erase({found->second.due, name});
  folders_.erase(found);
}

void FolderWatcher::Look(const std::string& name) {
  MutexLock lock(&mutex_);
  const auto found = folders_.find(name);
  if (found == folders_.end()) return;
  SetDue(name, found->second, absl::InfinitePast());
  Wake();
}

void FolderWatcher::Stop() {
  std::vector<std::thread> listers;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    listers = std::move(listers_);
  }
  Wake();
  work_.NotifyAll();
  if (thread_.joinable()) thread_.join();
  for (std::thread& lister : listers) lister.join();
}

void FolderWatcher::Wake() {
  const uint64_t one = 1;
  // A counter that is full wakes as well.
  [[maybe_unused]] const ssize_t wrote = write(wake_, &one, sizeof(one));
}

void FolderWatcher::SetDue(const std::string& name, Folder& folder, absl::Time due) {
  due_.erase({folder.due, name});
  folder.due = due;
  if (!folder.listing && due != absl::InfiniteFuture()) due_.emplace(due, name);
}

void FolderWatcher::AddNotice(const std::string& name, Folder& folder) {
  if (notices_ < 0 || folder.watch >= 0) return;
  folder.watch = inotify_add_watch(notices_, folder.base.c_str(), kEvents | IN_ONLYDIR);
  if (folder.watch >= 0) watches_[folder.watch].insert(name);
}

void FolderWatcher::DropNotice(const std::string& name, Folder& folder) {
  const auto found = watches_.find(folder.watch);
  if (found != watches_.end()) {
    found->second.erase(name);
    if (found->second.empty()) {
      inotify_rm_watch(notices_, folder.watch);
      watches_.erase(found);
    }
  }
  folder.watch = -1;
}

void FolderWatcher::Run() {
  while (true) {
    absl::Duration wait;
    {
      MutexLock lock(&mutex_);
      if (stopping_) return;
      wait = Dispatch();
    }
    std::array<pollfd, 2> polled{{{wake_, POLLIN, 0}, {notices_, POLLIN, 0}}};
    const auto wait_ms = static_cast<int>(absl::ToInt64Milliseconds(std::min(wait, absl::Seconds(60))) + 1);
    poll(polled.data(), notices_ >= 0 ? 2 : 1, wait_ms);
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = read(wake_, &count, sizeof(count));
    if (notices_ >= 0) ReadEvents();
  }
}

absl::Duration FolderWatcher::Dispatch() {
  const absl::Time now = absl::Now();
  while (!due_.empty() && due_.begin()->first <= now) {
    const std::string name = due_.begin()->second;
    due_.erase(due_.begin());
    Folder& folder = folders_.find(name)->second;
    folder.listing = true;
    folder.due = absl::InfiniteFuture();
    queue_.push_back(name);
    if (idle_ < queue_.size() && listers_.size() < static_cast<size_t>(options_.max_threads)) {
      listers_.emplace_back([this, number = listers_.size()] {
        pthread_setname_np(pthread_self(), ("lister-" + std::to_string(number)).c_str());
        List();
      });
    }
    work_.NotifyOne();
  }
  return due_.empty() ? absl::InfiniteDuration() : due_.begin()->first - now;
}

void FolderWatcher::ReadEvents() {
  alignas(inotify_event) std::array<char, 16384> buffer;
  MutexLock lock(&mutex_);
  while (true) {
    const ssize_t got = read(notices_, buffer.data(), buffer.size());
    if (got <= 0) return;
    for (size_t at = 0; at + sizeof(inotify_event) <= static_cast<size_t>(got);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof(event));
      at += sizeof(event) + event.len;
      const auto found = watches_.find(event.wd);
      if (found == watches_.end()) continue;
      for (const std::string& name : found->second) {
        Folder& folder = folders_.find(name)->second;
        SetDue(name, folder, std::min(folder.due, absl::Now() + kSettle));
        if ((event.mask & IN_IGNORED) != 0) folder.watch = -1;
      }
      if ((event.mask & IN_IGNORED) != 0) watches_.erase(found);
    }
  }
}

void FolderWatcher::List() {
  mutex_.Lock();
  while (true) {
    while (queue_.empty() && !stopping_) {
      ++idle_;
      work_.Wait(&mutex_);
      --idle_;
    }
    if (stopping_) break;
    const std::string name = std::move(queue_.front());
    queue_.pop_front();
    const auto found = folders_.find(name);
    if (found == folders_.end()) continue;
    // First the notice, then the listing: what changes in between is told.
    AddNotice(name, found->second);
    const std::string base = found->second.base;
    const uint64_t number = found->second.number;
    mutex_.Unlock();
    on_listed_(name, number, ListVersions(base));
    mutex_.Lock();
    const auto after = folders_.find(name);
    if (after == folders_.end() || !after->second.listing) continue;
    after->second.listing = false;
    const bool once = options_.period <= absl::ZeroDuration();
    const absl::Time next = once ? absl::InfiniteFuture() : absl::Now() + options_.period;
    // Asked for meanwhile: at once.
    SetDue(name, after->second, std::min(after->second.due, next));
    if (stopping_) break;
    Wake();
  }
  mutex_.Unlock();
}

}  // namespace portico
