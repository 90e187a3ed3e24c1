#include "embedding/hot_pages.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "base/thread_schedule.h"

namespace portico {
namespace {

/// What a round keeps of what it knew: half of it is forgotten in five rounds.
constexpr double kKept = 0.87;
/// Samples in a piece below which it is not worth a copy.
constexpr double kLeastTouches = 4;
/// By how much a piece must be hotter than what it drives out.
constexpr double kHotter = 2;

}  // namespace

/// Scores are the round's; who asks for bytes reads `promoted` alone.
struct HotPages::Watched {
  Watched(const std::shared_ptr<const ShardFile>& watched)
      : key(watched.get()),
        file(watched),
        pieces(HugePiecesOf(watched->layout())),
        touches(pieces.size()),
        refused(pieces.size()),
        promoted(pieces.size()) {}

  const ShardFile* const key;
  const std::weak_ptr<const ShardFile> file;
  const std::vector<HugePiece> pieces;
  std::vector<double> touches;
  /// Broken ones: not tried again.
  std::vector<bool> refused;
  std::vector<std::atomic<bool>> promoted;
};

struct HotPages::Choice {
  std::shared_ptr<const ShardFile> file;
  Watched* watched;
  size_t piece;

  uint64_t bytes() const { return watched->pieces[piece].huge_bytes(); }
  double touches() const { return watched->touches[piece]; }
  /// Touches a byte.
  double heat() const { return touches() / static_cast<double>(bytes()); }
};

HotPages::HotPages(const Options& options) : options_(options) {
  if (options_.start) thread_ = std::thread([this] { Run(); });
}

HotPages::~HotPages() {
  {
    const MutexLock lock(&mutex_);
    stop_ = true;
  }
  stopped_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void HotPages::Watch(const std::shared_ptr<const ShardFile>& file) {
  if (file->touches() == nullptr) return;
  auto watched = std::make_shared<Watched>(file);
  const MutexLock lock(&mutex_);
  files_.push_back(std::move(watched));
}

void HotPages::Run() {
  YieldToServing(10);
  const YieldOften often;
  while (true) {
    {
      const MutexLock lock(&mutex_);
      const absl::Time due = absl::Now() + options_.interval;
      while (!stop_ && absl::Now() < due) stopped_.WaitFor(&mutex_, due - absl::Now());
      if (stop_) return;
    }
    Round();
  }
}

std::vector<std::shared_ptr<HotPages::Watched>> HotPages::Files() const {
  const MutexLock lock(&mutex_);
  return files_;
}

void HotPages::Round() {
  const MutexLock one(&round_);
  std::vector<Choice> hottest, coldest;
  std::vector<const Watched*> gone;
  const std::vector<std::shared_ptr<Watched>> files = Files();
  for (const std::shared_ptr<Watched>& watched : files) {
    const std::shared_ptr<const ShardFile> file = watched->file.lock();
    if (file == nullptr) gone.push_back(watched.get());
    for (size_t i = 0; i < watched->pieces.size(); ++i) {
      const HugePiece& piece = watched->pieces[i];
      const bool promoted = watched->promoted[i].load(std::memory_order_relaxed);
      if (file == nullptr) {
        if (promoted) used_.fetch_sub(piece.huge_bytes(), std::memory_order_relaxed);
        continue;
      }
      double& touches = watched->touches[i];
      touches = touches * kKept + static_cast<double>(file->touches()->Take(piece.offset, piece.bytes));
      if (promoted) {
        coldest.push_back({file, watched.get(), i});
      } else if (touches >= kLeastTouches && !watched->refused[i]) {
        hottest.push_back({file, watched.get(), i});
      }
    }
  }
  std::stable_sort(hottest.begin(), hottest.end(),
                   [](const Choice& a, const Choice& b) { return a.heat() > b.heat(); });
  // The coldest at the end, to be taken from there.
  std::stable_sort(coldest.begin(), coldest.end(),
                   [](const Choice& a, const Choice& b) { return a.heat() > b.heat(); });
  uint64_t moved = 0;
  for (const Choice& choice : hottest) {
    if (moved + choice.bytes() > options_.bytes_per_round) break;
    const HugePiece& piece = choice.watched->pieces[choice.piece];
    // Before others make room for it.
    if (!choice.file->gate().Ensure(choice.file->begin() + piece.offset, piece.bytes).ok()) {
      choice.watched->refused[choice.piece] = true;
      continue;
    }
    if (!MakeRoom(choice, coldest)) continue;
    moved += choice.bytes();
    if (!PromotePiece(*choice.file, piece)) continue;
    choice.watched->promoted[choice.piece].store(true, std::memory_order_relaxed);
    used_.fetch_add(choice.bytes(), std::memory_order_relaxed);
  }
  const MutexLock lock(&mutex_);
  std::erase_if(files_, [&gone](const std::shared_ptr<Watched>& watched) {
    return std::find(gone.begin(), gone.end(), watched.get()) != gone.end();
  });
}

bool HotPages::MakeRoom(const Choice& piece, std::vector<Choice>& coldest) {
  // Nobody goes unless enough of them do.
  uint64_t left = bytes();
  for (auto out = coldest.rbegin(); left + piece.bytes() > options_.bytes; ++out) {
    if (out == coldest.rend() || out->heat() * kHotter > piece.heat()) return false;
    left -= out->bytes();
  }
  while (bytes() + piece.bytes() > options_.bytes) {
    if (coldest.empty()) return false;
    const Choice out = std::move(coldest.back());
    coldest.pop_back();
    if (!DemotePiece(*out.file, out.watched->pieces[out.piece])) continue;
    out.watched->promoted[out.piece].store(false, std::memory_order_relaxed);
    used_.fetch_sub(out.bytes(), std::memory_order_relaxed);
  }
  return true;
}

uint64_t HotPages::BytesIn(const ShardFile& file, const ShardLayout::Section& section) const {
  uint64_t bytes = 0;
  for (const std::shared_ptr<Watched>& watched : Files()) {
    // One that has gone may have had the same address.
    if (watched->key != &file || watched->file.expired()) continue;
    for (size_t i = 0; i < watched->pieces.size(); ++i) {
      const HugePiece& piece = watched->pieces[i];
      const bool inside = piece.offset >= section.offset && piece.offset < section.offset + section.bytes;
      if (inside && watched->promoted[i].load(std::memory_order_relaxed)) bytes += piece.bytes;
    }
  }
  return bytes;
}

}  // namespace portico
