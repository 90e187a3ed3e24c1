#include "embedding/row_cache.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>

#include "absl/strings/str_cat.h"
#include "embedding/id_hash.h"

namespace portico {
namespace {

using Word = std::atomic<uint64_t>;
static_assert(sizeof(Word) == sizeof(uint64_t) && Word::is_always_lock_free);

constexpr size_t kWays = 8;
constexpr size_t kLine = 64;
/// A set begins with a line of marks and a line of counters.
constexpr size_t kSetHeader = 2 * kLine;

// A slot: sequence (odd: being written; 0: never was), id, origin, type and lengths, table and time; then the text and
// the row, each from a word's beginning on.
enum SlotWord { kSequence, kId, kOrigin, kShape, kTable, kSlotHeader };

constexpr size_t WordsOf(size_t bytes) { return (bytes + 7) / 8; }
uint64_t ShapeWord(RowType type, size_t text, size_t row) {
  return uint64_t{static_cast<uint8_t>(type)} << 56 | uint64_t{text} << 32 | row;
}

// Zeros of fresh memory are words of 0.
Word* WordsAt(char* at) { return reinterpret_cast<Word*>(at); }
Word* SlotAt(char* set, size_t way, size_t slot_bytes) { return WordsAt(set + kSetHeader + way * slot_bytes); }

/// Whether the words at `from` are those bytes. Loads acquire, so that the sequence is read after them.
bool Same(const Word* from, absl::string_view bytes) {
  for (size_t at = 0; at < bytes.size(); at += 8) {
    uint64_t want = 0;
    std::memcpy(&want, bytes.data() + at, std::min<size_t>(8, bytes.size() - at));
    if (from++->load(std::memory_order_acquire) != want) return false;
  }
  return true;
}

void CopyOut(const Word* from, size_t bytes, char* to) {
  const size_t whole = bytes / 8;
  for (size_t i = 0; i < whole; ++i, to += 8) {
    const uint64_t word = from[i].load(std::memory_order_acquire);
    std::memcpy(to, &word, 8);
  }
  if (bytes % 8 == 0) return;
  const uint64_t word = from[whole].load(std::memory_order_acquire);
  std::memcpy(to, &word, bytes % 8);
}

/// Stores release, so that who reads one of them sees the odd sequence.
Word* CopyIn(absl::string_view bytes, Word* to) {
  for (size_t at = 0; at < bytes.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min<size_t>(8, bytes.size() - at));
    to++->store(word, std::memory_order_release);
  }
  return to;
}

/// How often what belongs to a set was asked for of late: 112 counters of four bits, of which each mark has three. What
/// threads that meet here lose of it does not matter.
class Counters {
 public:
  explicit Counters(char* set) : words_(WordsAt(set + kLine)) {}

  uint64_t Of(uint64_t mark) const {
    uint64_t least = kMost;
    for (const Nibble& one : NibblesOf(mark)) least = std::min(least, Value(one));
    return least;
  }

  /// Raises the lowest ones alone, which says more where there are few (Estan and Varghese's conservative update).
  void Add(uint64_t mark) {
    const std::array<Nibble, kEach> nibbles = NibblesOf(mark);
    uint64_t least = kMost;
    for (const Nibble& one : nibbles) least = std::min(least, Value(one));
    if (least == kMost) return;
    for (const Nibble& one : nibbles) {
      Word& word = words_[one.word];
      uint64_t before = word.load(std::memory_order_relaxed);
      if ((before >> one.shift & kMost) != least) continue;
      word.compare_exchange_strong(before, before + (uint64_t{1} << one.shift), std::memory_order_relaxed);
    }
    if (words_[kCountWords].fetch_add(1, std::memory_order_relaxed) + 1 == kPeriod) Halve();
  }

 private:
  static constexpr size_t kEach = 3;
  static constexpr size_t kCountWords = 7;
  static constexpr uint64_t kMost = 15;
  /// As many for each slot as in the paper's and its followers' caches.
  static constexpr uint64_t kPeriod = 10 * kWays;
  struct Nibble {
    size_t word;
    int shift;
  };

  static std::array<Nibble, kEach> NibblesOf(uint64_t mark) {
    std::array<Nibble, kEach> nibbles;
    // Marks of a set share bits.
    uint64_t bits = mark * 0x9e3779b97f4a7c15;
    bits ^= bits >> 32;
    for (Nibble& one : nibbles) {
      const uint64_t number = (bits & 0xffff) * (kCountWords * 16) >> 16;
      one = {number / 16, static_cast<int>(number % 16 * 4)};
      bits >>= 16;
    }
    return nibbles;
  }
  uint64_t Value(const Nibble& one) const {
    return words_[one.word].load(std::memory_order_relaxed) >> one.shift & kMost;
  }
  void Halve() {
    for (size_t i = 0; i < kCountWords; ++i) {
      const uint64_t before = words_[i].load(std::memory_order_relaxed);
      words_[i].store(before >> 1 & 0x7777777777777777, std::memory_order_relaxed);
    }
    words_[kCountWords].store(kPeriod / 2, std::memory_order_relaxed);
  }

  Word* const words_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<RowCache>> RowCache::Create(uint64_t bytes) {
  const uint64_t whole = bytes / (kSegments * 4096) * (kSegments * 4096);
  void* const memory = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cache of rows: got no room for ", bytes, " bytes: ", std::strerror(errno), "; give it less"));
  }
  madvise(memory, whole, MADV_HUGEPAGE);
  return std::shared_ptr<RowCache>(new RowCache(static_cast<char*>(memory), whole));
}

RowCache::RowCache(char* memory, uint64_t max_bytes)
    : memory_(memory), max_bytes_(max_bytes), segment_bytes_(max_bytes / kSegments) {
  std::random_device random;
  seed_ = uint64_t{random()} << 32 | random();
}

RowCache::~RowCache() {
  for (std::atomic<Size*>& size : sizes_) delete size.load(std::memory_order_relaxed);
  munmap(memory_, max_bytes_);
}

size_t RowCache::SlotBytes(const Key& key, size_t row_bytes) {
  const size_t bytes = 8 * (kSlotHeader + WordsOf(key.text.size()) + WordsOf(row_bytes));
  return (bytes + kGranule - 1) / kGranule * kGranule;
}

uint64_t RowCache::Hash(const Key& key) const {
  return HashId(key.id, seed_ ^ uint64_t{key.table} * 0x9e3779b97f4a7c15) | 1;
}

size_t RowCache::SetsOf(size_t slot_bytes) const { return segment_bytes_ / (kSetHeader + kWays * slot_bytes); }

char* RowCache::SetOf(size_t slot_bytes, uint64_t hash) const {
  const Size* const size = sizes_[slot_bytes / kGranule].load(std::memory_order_acquire);
  if (size == nullptr) return nullptr;
  const uint32_t count = size->count.load(std::memory_order_acquire);
  if (count == 0) return nullptr;
  // Linear hashing: of the segments that the last bits could mean those beyond the end are not split yet.
  const int bits = std::bit_width(count - 1);
  const uint64_t low = hash >> 1;
  uint64_t segment = low & ((uint64_t{1} << bits) - 1);
  if (segment >= count) segment = low & ((uint64_t{1} << (bits - 1)) - 1);
  const uint64_t set = (hash >> 32) * SetsOf(slot_bytes) >> 32;
  return size->segments[segment].load(std::memory_order_relaxed) + set * (kSetHeader + kWays * slot_bytes);
}

RowCache::Place RowCache::Locate(const Key& key, RowType type, size_t row_bytes) const {
  Place place;
  const size_t slot_bytes = SlotBytes(key, row_bytes);
  if (slot_bytes / kGranule >= kSizes) return place;
  place.mark = Hash(key);
  place.set = SetOf(slot_bytes, place.mark);
  place.slot_bytes = static_cast<uint32_t>(slot_bytes);
  place.type = type;
  place.row_bytes = static_cast<uint32_t>(row_bytes);
  if (place.set != nullptr) {
    __builtin_prefetch(place.set);
    __builtin_prefetch(place.set + kLine);
  }
  return place;
}

void RowCache::Fetch(const Place& place) const {
  if (place.set == nullptr) return;
  const Word* const marks = WordsAt(place.set);
  for (size_t way = 0; way < kWays; ++way) {
    if (marks[way].load(std::memory_order_relaxed) != place.mark) continue;
    const Word* const slot = SlotAt(place.set, way, place.slot_bytes);
    for (size_t at = 0; at < place.slot_bytes; at += kLine)
      __builtin_prefetch(reinterpret_cast<const char*>(slot) + at);
    return;
  }
}

template <typename Matches>
RowCache::Known RowCache::Find(const Place& place, const Key& key, const Matches& matches, char* out) const {
  const Word* const marks = WordsAt(place.set);
  for (size_t way = 0; way < kWays; ++way) {
    if (marks[way].load(std::memory_order_relaxed) != place.mark) continue;
    const Word* const slot = SlotAt(place.set, way, place.slot_bytes);
    const uint64_t sequence = slot[kSequence].load(std::memory_order_acquire);
    if (sequence == 0 || sequence % 2 != 0) continue;
    const uint64_t origin = slot[kOrigin].load(std::memory_order_acquire);
    const uint64_t table = slot[kTable].load(std::memory_order_acquire);
    if (slot[kId].load(std::memory_order_acquire) != key.id || !matches(origin) || table >> 32 != key.table ||
        slot[kShape].load(std::memory_order_acquire) != ShapeWord(place.type, key.text.size(), place.row_bytes) ||
        !Same(slot + kSlotHeader, key.text)) {
      continue;
    }
    CopyOut(slot + kSlotHeader + WordsOf(key.text.size()), place.row_bytes, out);
    if (slot[kSequence].load(std::memory_order_relaxed) != sequence) continue;
    return {origin, static_cast<uint32_t>(table)};
  }
  return {};
}

bool RowCache::Read(const Place& place, const Key& key, uint64_t origin, char* out) const {
  if (place.set == nullptr) return false;
  Counters(place.set).Add(place.mark);
  return origin != 0 && Find(
                            place, key, [origin](uint64_t other) { return other == origin; }, out)
                                .origin != 0;
}

RowCache::Known RowCache::Last(const Place& place, const Key& key, char* out) const {
  if (place.set == nullptr) return {};
  return Find(
      place, key, [](uint64_t) { return true; }, out);
}

void RowCache::Put(const Key& key, uint64_t origin, RowType type, size_t row_bytes, const char* row, uint32_t now) {
  const size_t slot_bytes = SlotBytes(key, row_bytes);
  if (slot_bytes / kGranule >= kSizes) return;
  const uint64_t mark = Hash(key);
  char* set = SetOf(slot_bytes, mark);
  if (set == nullptr) {
    if (!Grow(slot_bytes)) return;
    set = SetOf(slot_bytes, mark);
  }
  Word* const marks = WordsAt(set);
  const Counters counters(set);
  // Its own slot, else an empty one, else that of the row which is asked for least.
  constexpr uint64_t kFull = UINT64_MAX - 1;
  size_t chosen = kWays;
  uint64_t chosen_mark = 0, least = UINT64_MAX;
  const uint64_t own = counters.Of(mark);
  for (size_t way = 0; way < kWays; ++way) {
    const uint64_t other = marks[way].load(std::memory_order_relaxed);
    // Nobody makes room for what came once.
    if (own < 2 && other != mark && other != 0) {
      least = std::min(least, kFull);
      continue;
    }
    const uint64_t count = other == mark ? 0 : other == 0 ? 1 : 2 + counters.Of(other);
    if (count >= least) continue;
    chosen = way;
    chosen_mark = other;
    least = count;
  }
  if (least >= 2) {
    Size& size = *sizes_[slot_bytes / kGranule].load(std::memory_order_relaxed);
    // Some of them, as many as belong to sets that are full because hashes are uneven.
    if (segments_.load(std::memory_order_relaxed) + kReserve < kSegments &&
        size.crowded.fetch_add(1, std::memory_order_relaxed) > size.count * SetsOf(slot_bytes) * kWays / 16) {
      Grow(slot_bytes);
      return Put(key, origin, type, row_bytes, row, now);
    }
    if (own < 2 || own + 2 <= least) return;
  }
  Word* const slot = SlotAt(set, chosen, slot_bytes);
  uint64_t sequence = slot[kSequence].load(std::memory_order_relaxed);
  if (sequence % 2 != 0 ||
      !slot[kSequence].compare_exchange_strong(sequence, sequence + 1, std::memory_order_acquire)) {
    return;
  }
  if (marks[chosen].load(std::memory_order_relaxed) == chosen_mark) {
    if (least >= 2) evictions_.fetch_add(1, std::memory_order_relaxed);
    marks[chosen].store(mark, std::memory_order_relaxed);
    slot[kId].store(key.id, std::memory_order_release);
    slot[kOrigin].store(origin, std::memory_order_release);
    slot[kShape].store(ShapeWord(type, key.text.size(), row_bytes), std::memory_order_release);
    slot[kTable].store(uint64_t{key.table} << 32 | now, std::memory_order_release);
    CopyIn(absl::string_view(row, row_bytes), CopyIn(key.text, slot + kSlotHeader));
  }
  slot[kSequence].store(sequence + 2, std::memory_order_release);
}

bool RowCache::Grow(size_t slot_bytes) {
  if (SetsOf(slot_bytes) == 0) return false;
  MutexLock lock(&growing_);
  std::atomic<Size*>& at = sizes_[slot_bytes / kGranule];
  Size* size = at.load(std::memory_order_relaxed);
  const uint32_t count = size == nullptr ? 0 : size->count.load(std::memory_order_relaxed);
  const uint64_t used = segments_.load(std::memory_order_relaxed);
  if (count != 0) {
    // Another thread may have been first.
    if (size->crowded.exchange(0, std::memory_order_relaxed) == 0) return true;
    if (used + kReserve >= kSegments) return false;
  } else if (used == kSegments) {
    return false;
  }
  if (size == nullptr) {
    size = new Size;
    at.store(size, std::memory_order_release);
  }
  size->segments[count].store(memory_ + used * segment_bytes_, std::memory_order_relaxed);
  size->count.store(count + 1, std::memory_order_release);
  segments_.store(used + 1, std::memory_order_relaxed);
  return true;
}

}  // namespace portico
