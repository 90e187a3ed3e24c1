#include "node/revision_follower.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace portico {
namespace {

/// How often it looks while something is on its way.
constexpr absl::Duration kBusyPeriod = absl::Milliseconds(10);
/// A run folder whose pointers are this far apart is broken; more is never held.
constexpr uint64_t kMaxHeld = 64;
constexpr size_t kMaxRefused = 16;

}  // namespace

RevisionFollower::RevisionFollower(Options options, LiveRevisions& live, RevisionUser& user, const Clock& clock)
    : options_(std::move(options)), live_(live), user_(user), clock_(clock) {
  if (options_.pointer.empty()) return;
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  PORTICO_CHECK(wake_ >= 0);
  // Where it does not work, the period does.
  notices_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  const std::string folder = std::filesystem::path(options_.pointer).parent_path().string();
  if (notices_ >= 0) inotify_add_watch(notices_, folder.c_str(), IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_CLOSE_WRITE);
}

RevisionFollower::~RevisionFollower() {
  Stop();
  if (notices_ >= 0) close(notices_);
  if (wake_ >= 0) close(wake_);
}

absl::Status RevisionFollower::Begin() {
  ASSIGN_OR_RETURN(const RevisionPointers pointers, ReadPointers());
  held_ = Wanted(pointers);
  if (held_.empty()) {
    return absl::NotFoundError(absl::StrCat("node '", options_.node, "/", options_.replica, "': not in the mesh that '",
                                            options_.pointer, "' leads to"));
  }
  HoldAll(pointers);
  // Peers ask for what is loaded as soon as they are told that it is, while the rest is still on its way.
  for (auto& [number, held] : held_) {
    if (number <= pointers.current) Answer(*held);
  }
  return absl::OkStatus();
}

void RevisionFollower::Start() {
  if (options_.pointer.empty()) return;
  // What failed to load was logged, and is told by status and readiness: the rest serves.
  const absl::StatusOr<RevisionPointers> pointers = ReadPointers();
  Held* current = pointers.ok() ? Current(*pointers) : nullptr;
  if (current == nullptr) current = held_.begin()->second.get();
  for (auto& [number, held] : held_) {
    if (number <= current->revision.number && !held->prepared) Answer(*held);
  }
  Flip(*current);
  Tell();
  thread_ = std::thread([this] { Run(); });
}

void RevisionFollower::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  PORTICO_CHECK(write(wake_, &one, sizeof one) == sizeof one);
  thread_.join();
}

void RevisionFollower::Run() {
  for (;;) {
    const absl::Duration period = Busy() ? kBusyPeriod : options_.period;
    pollfd wanted[] = {{wake_, POLLIN, 0}, {notices_, POLLIN, 0}};
    poll(wanted, 2, static_cast<int>(absl::ToInt64Milliseconds(period)));
    if (wanted[0].revents != 0) return;
    alignas(inotify_event) char events[4096];
    while (notices_ >= 0 && read(notices_, events, sizeof events) > 0) {
    }
    Look();
  }
}

bool RevisionFollower::Busy() const {
  const uint64_t current = live_.current();
  return std::any_of(held_.begin(), held_.end(), [&](const auto& held) {
    return held.first < current || (!held.second->prepared && !refused_.contains(held.first));
  });
}

void RevisionFollower::Look() {
  const absl::StatusOr<RevisionPointers> pointers = ReadPointers();
  if (!pointers.ok()) {
    const std::string error(pointers.status().message());
    if (error != last_error_) LogError(absl::StrCat(error, "; the node goes on with revision ", live_.current()));
    last_error_ = error;
  } else {
    last_error_.clear();
    std::map<uint64_t, std::shared_ptr<Held>> wanted = Wanted(*pointers);
    // What requests are stamped with goes on until there is another.
    if (const auto current = held_.find(live_.current()); current != held_.end()) wanted.insert(*current);
    for (const auto& [number, held] : held_) {
      if (!wanted.contains(number) && held->prepared) live_.Drop(number);
    }
    held_ = std::move(wanted);
    HoldAll(*pointers);
    Prepare();
    Held* current = Current(*pointers);
    if (current != nullptr && current->prepared && current->revision.number != live_.current()) {
      Flip(*current);
      HoldAll(*pointers);
    }
  }
  Tell();
}

absl::StatusOr<RevisionPointers> RevisionFollower::ReadPointers() {
  absl::StatusOr<RevisionPointers> pointers = ReadRevisionPointers(options_.pointer);
  if (!absl::IsNotFound(pointers.status())) return pointers;
  // No link: the document itself.
  ASSIGN_OR_RETURN(const Revision revision, ReadRevision(options_.pointer));
  RevisionPointers plain;
  plain.current = revision.number;
  return plain;
}

std::map<uint64_t, std::shared_ptr<RevisionFollower::Held>> RevisionFollower::Wanted(const RevisionPointers& pointers) {
  const std::string folder = std::filesystem::path(options_.pointer).parent_path().string();
  const bool linked = std::filesystem::is_symlink(options_.pointer);
  std::map<uint64_t, std::shared_ptr<Held>> wanted;
  const auto want = [&](uint64_t number) {
    if (const auto have = held_.find(number); have != held_.end()) {
      wanted.insert(*have);
    } else if (auto read = Read(linked ? RevisionDocument(folder, number) : options_.pointer, number)) {
      wanted.emplace(number, std::move(read));
    }
  };
  uint64_t first = pointers.oldest == 0 ? pointers.current : std::min(pointers.oldest, pointers.current);
  if (pointers.current - first >= kMaxHeld) first = pointers.current - kMaxHeld + 1;
  for (uint64_t number = first; number <= pointers.current; ++number) want(number);
  if (pointers.next > pointers.current) want(pointers.next);
  if (pointers.oldest != 0) return wanted;
  // Nobody says how long: until what entered here is done, and other nodes have had time.
  const uint64_t in_use = live_.OldestInUse();
  for (const auto& [number, held] : held_) {
    const bool recent = clock_.Now() - held->superseded < options_.grace;
    if (number < pointers.current && (recent || number >= in_use)) wanted.emplace(number, held);
  }
  return wanted;
}

std::shared_ptr<RevisionFollower::Held> RevisionFollower::Read(const std::string& path, uint64_t number) {
  if (number == absent_ || refused_.contains(number)) return nullptr;
  absl::StatusOr<Revision> revision = ReadRevision(path);
  // One that was never rolled out has been taken away.
  if (absl::IsNotFound(revision.status())) return nullptr;
  if (!revision.ok()) {
    Refuse(number, revision.status());
    return nullptr;
  }
  if (revision->FindNode(options_.node, options_.replica) == nullptr) {
    absent_ = number;
    return nullptr;
  }
  auto held = std::make_shared<Held>();
  held->revision = *std::move(revision);
  return held;
}

RevisionFollower::Held* RevisionFollower::Current(const RevisionPointers& pointers) const {
  auto after = held_.upper_bound(pointers.current);
  // A node that comes with the next revision begins with it.
  return after == held_.begin() ? (after == held_.end() ? nullptr : after->second.get())
                                : std::prev(after)->second.get();
}

void RevisionFollower::HoldAll(const RevisionPointers& pointers) {
  const Held* current = Current(pointers);
  if (current == nullptr) return;
  std::pair<std::vector<uint64_t>, uint64_t> tell;
  tell.second = current->revision.number;
  std::vector<const Revision*> live;
  for (const auto& [number, held] : held_) {
    live.push_back(&held->revision);
    tell.first.push_back(number);
  }
  if (tell == told_) return;
  told_ = std::move(tell);
  const absl::Status status = user_.Hold(live, current->revision);
  if (!status.ok()) Refuse(held_.rbegin()->first, status);
}

void RevisionFollower::Prepare() {
  for (auto& [number, held] : held_) {
    if (held->prepared || refused_.contains(number)) continue;
    const std::optional<absl::Status> prepared = user_.Prepared(held->revision);
    if (!prepared.has_value()) continue;
    if (prepared->ok()) {
      LogInfo(absl::StrCat("revision ", number, " is prepared"));
      Answer(*held);
    } else {
      Refuse(number, *prepared);
    }
  }
}

void RevisionFollower::Answer(Held& held) {
  const Revision::Node* node = held.revision.FindNode(options_.node, options_.replica);
  live_.Add(RevisionView::Of(held.revision, *node, live_.arms()));
  held.prepared = true;
}

void RevisionFollower::Flip(Held& held) {
  if (const auto before = held_.find(live_.current()); before != held_.end()) {
    before->second->superseded = clock_.Now();
    LogInfo(absl::StrCat("revision ", held.revision.number, " is current, after ", before->first));
  }
  live_.Flip(held.revision.number);
}

void RevisionFollower::Refuse(uint64_t number, const absl::Status& why) {
  LogError(absl::StrCat("revision ", number, " cannot be prepared: ", why.message()));
  refused_[number] = std::string(why.message());
  if (refused_.size() > kMaxRefused) refused_.erase(refused_.begin());
}

void RevisionFollower::Tell() {
  RevisionState state;
  state.current = live_.current();
  for (const auto& [number, held] : held_) {
    if (held->prepared) state.prepared = number;
  }
  state.oldest = live_.OldestInUse();
  if (!refused_.empty()) {
    state.refused = refused_.rbegin()->first;
    state.why = refused_.rbegin()->second;
  }
  if (state == state_) return;
  state_ = state;
  if (options_.on_change) options_.on_change(state_);
}

}  // namespace portico
