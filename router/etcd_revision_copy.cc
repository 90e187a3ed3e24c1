#include "router/etcd_revision_copy.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "router/revision_pointers.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kLookPeriod = absl::Milliseconds(20);
/// After so long somebody may wonder.
constexpr absl::Duration kQuiet = absl::Seconds(1);

uint64_t NumberIn(const EtcdMirror::Entries& entries, absl::string_view key) {
  const auto found = entries.find(key);
  uint64_t number = 0;
  return found != entries.end() && absl::SimpleAtoi(found->second, &number) ? number : 0;
}

EtcdMirror::Options MirrorOf(const std::string& prefix, std::function<void(const EtcdMirror::Entries&)> on_change) {
  EtcdMirror::Options options;
  options.prefix = EtcdRevisionKeys(prefix).mesh;
  options.on_change = std::move(on_change);
  return options;
}

}  // namespace

EtcdRevisionCopy::EtcdRevisionCopy(Options options, EtcdClient& client, MetricRegistry& metrics)
    : options_(std::move(options)),
      mirror_(MirrorOf(options_.prefix, [this](const EtcdMirror::Entries& entries) { Update(entries); }), client,
              metrics) {}

absl::Status EtcdRevisionCopy::WaitForCurrent(absl::Duration timeout, const std::function<bool()>& given_up) {
  const absl::Time begin = absl::Now(), until = begin + timeout;
  const std::string where = absl::StrCat("revisions below '", EtcdRevisionKeys(options_.prefix).mesh, "'");
  for (bool said = false; absl::Now() < until;) {
    {
      MutexLock lock(&mutex_);
      if (!copied_) changed_.WaitFor(&mutex_, std::min(until - absl::Now(), kLookPeriod));
      if (copied_) return absl::OkStatus();
    }
    if (given_up && given_up()) return absl::CancelledError(absl::StrCat(where, ": given up waiting for one"));
    if (said || absl::Now() - begin < kQuiet) continue;
    said = true;
    LogWarning(absl::StrCat(where, ": got none yet; waiting for ", absl::FormatDuration(timeout)));
  }
  const auto left_over = ReadRevisionPointers(current());
  if (!left_over.ok()) {
    return absl::UnavailableError(absl::StrCat(where, ": got no current one within ", absl::FormatDuration(timeout),
                                               ", want one; see --etcd and --etcd-prefix, and run 'portico apply'"));
  }
  LogWarning(absl::StrCat(where, ": etcd has not answered; starting with revision ", left_over->current, " of folder '",
                          options_.folder, "'"));
  return absl::OkStatus();
}

void EtcdRevisionCopy::Update(const EtcdMirror::Entries& entries) {
  const absl::StatusOr<bool> copied = Copy(entries);
  if (!copied.ok()) LogError(absl::StrCat("revisions from etcd: ", copied.status().message()));
  if (!copied.value_or(false)) return;
  MutexLock lock(&mutex_);
  copied_ = true;
  changed_.NotifyAll();
}

absl::StatusOr<bool> EtcdRevisionCopy::Copy(const EtcdMirror::Entries& entries) {
  const uint64_t current = NumberIn(entries, "current"), next = NumberIn(entries, "next");
  const uint64_t oldest = NumberIn(entries, "oldest");
  // Nothing is there (any more): what we have holds on.
  if (current == 0 || !entries.contains(absl::StrCat("revisions/", current))) return false;
  const std::string documents = options_.folder + "/revisions";
  std::error_code error;
  fs::create_directories(documents, error);
  if (error) return ErrnoStatus(error.value(), "make folder", documents);
  const uint64_t first = oldest == 0 ? current : std::min(oldest, current);
  for (const auto& [key, text] : entries) {
    absl::string_view digits = key;
    uint64_t number = 0;
    if (!absl::ConsumePrefix(&digits, "revisions/") || !absl::SimpleAtoi(digits, &number) || number < first) continue;
    std::string& written = written_[number];
    if (written == text) continue;
    RETURN_IF_ERROR(WriteFileAtomically(RevisionDocument(options_.folder, number), text));
    written = text;
  }
  // In the order in which ReadRevisionPointers() believes them.
  RETURN_IF_ERROR(MoveRevisionPointer(options_.folder, "current", current));
  if (next > current) {
    RETURN_IF_ERROR(MoveRevisionPointer(options_.folder, "next", next));
  } else {
    RemoveRevisionPointer(options_.folder, "next");
  }
  if (oldest != 0) RETURN_IF_ERROR(MoveRevisionPointer(options_.folder, "oldest", first));
  for (auto old = written_.begin(); old != written_.end() && old->first < first; old = written_.erase(old)) {
    fs::remove(RevisionDocument(options_.folder, old->first), error);
  }
  return true;
}

}  // namespace portico
