#include "remote_op/lookup_plan.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "embedding/id_hash.h"
#include "embedding/shard_lookup.h"
#include "remote_op/id_dedup.h"
#include "remote_op/lookup_inputs.h"

namespace portico {
namespace {

constexpr uint64_t kMaxPositions = std::numeric_limits<int32_t>::max();
/// Of one request: what it makes of its answers.
constexpr uint64_t kMaxOutputBytes = uint64_t{256} << 20;
constexpr uint64_t kMaxAnswerBytes = LookupPlan::kMaxAnswerBytes;
/// Of shards: the id belongs to none.
constexpr uint16_t kNoShard = UINT16_MAX;
/// Ids that are looked for the same ones ahead of.
constexpr uint64_t kAhead = 16;
/// Ids may be so many times more than rows that pay: beyond, the same ones are not looked for.
constexpr uint64_t kMaxRepeats = 8;
/// The same where most of them may be kept.
constexpr uint64_t kMaxRepeatsKept = 32;
/// So many times the bytes of sums may rows be that are asked for to be kept.
constexpr uint64_t kMaxLearned = 4;
/// Kept rows of one request, and those of it that are asked for to be kept though sums would be fewer bytes.
constexpr uint64_t kMaxKeptBytes = uint64_t{64} << 20;
/// Scratch::kept: the row is asked for.
constexpr uint32_t kNotKept = UINT32_MAX;
/// Sets and slots of kept rows are fetched so far ahead.
constexpr size_t kSetsAhead = 16, kSlotsAhead = 8;

template <typename... Parts>
absl::Status Bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

/// What planners of one thread leave to the next one.
struct Scratch {
  /// More are given back.
  static constexpr size_t kKept = size_t{1} << 22;

  /// By position, of all lookups: the id's shard.
  std::vector<uint16_t> shards;
  /// Of the lookups that get rows, distinct ids in the order that they come: their positions.
  std::vector<uint32_t> firsts;
  /// Of one lookup: by position, and by number of the distinct id.
  std::vector<uint64_t> hashes;
  std::vector<uint32_t> rows;
  /// By number of the distinct id: which kept row it is.
  std::vector<uint32_t> kept;
  IdDedup dedup;

  void Trim() {
    if (shards.capacity() > kKept) shards = {};
    if (firsts.capacity() > kKept) firsts = {};
    if (hashes.capacity() > kKept) hashes = {};
    if (rows.capacity() > kKept) rows = {};
    if (kept.capacity() > kKept) kept = {};
    dedup.Trim();
  }
};

Scratch& ThreadScratch() {
  static thread_local Scratch scratch;
  return scratch;
}

}  // namespace

/// Makes a plan: a look at all ids (Read), which says what is to be sent, then a look that writes it (Write).
class LookupPlanner {
 public:
  LookupPlanner(const EmbeddingSpec& spec, const ShardRoutes& routes, LookupPlan::RowTypes row_types,
                absl::Span<const Tensor> inputs, const KeptRows& kept)
      : spec_(spec), routes_(routes), row_types_(row_types), inputs_(inputs), kept_(kept), scratch_(ThreadScratch()) {}

  absl::StatusOr<LookupPlan> Make() {
    const absl::Cleanup trim = [this] { scratch_.Trim(); };
    plan_.asks_to_keep_ = kept_.cache != nullptr;
    scratch_.shards.clear();
    scratch_.firsts.clear();
    plan_.shares_.resize(routes_.shards());
    plan_.parts_.resize(spec_.lookups.size());
    sources_.resize(spec_.lookups.size());
    tallies_.resize(routes_.shards());
    answer_bytes_.resize(routes_.shards());
    for (uint32_t shard = 0; shard < routes_.shards(); ++shard) plan_.shares_[shard].shard = shard;
    for (size_t i = 0; i < spec_.lookups.size(); ++i) {
      absl::Status read = Read(i);
      if (!read.ok()) return WithContext(absl::StrCat("table '", spec_.lookups[i].table, "'"), read);
    }
    auto& shares = plan_.shares_;
    shares.erase(std::remove_if(shares.begin(), shares.end(), [](const auto& share) { return share.entries.empty(); }),
                 shares.end());
    Write();
    return std::move(plan_);
  }
  /// What Make() refused: the answers would be too large.
  bool too_much() const { return too_much_; }

 private:
  using Lookup = EmbeddingSpec::Lookup;
  using Entry = LookupPlan::Entry;
  using Part = LookupPlan::Part;

  /// The ids of a lookup.
  struct Source {
    LookupInputs inputs;
    /// Where its positions begin in Scratch::shards, and its distinct ids in Scratch::firsts.
    uint64_t shards_begin = 0;
    uint64_t firsts_begin = 0;
  };
  /// What one shard has of the lookup at hand.
  struct Tally {
    uint32_t ids = 0;
    uint32_t bags = 0;
    /// The last bag with an id of the shard, plus 1.
    uint32_t last = 0;
    uint32_t rows = 0;
  };
  /// Where the next things of a share are written.
  struct Cursor {
    int64_t* ids = nullptr;
    int32_t* lengths = nullptr;
    float* weights = nullptr;
    uint32_t* bags = nullptr;
    std::vector<absl::string_view> strings;
    uint32_t last = 0;
  };

  absl::Status Read(size_t index) {
    const Lookup& lookup = spec_.lookups[index];
    Part& part = plan_.parts_[index];
    Source& source = sources_[index];
    ASSIGN_OR_RETURN(source.inputs, ReadLookupInputs(spec_, lookup, inputs_, &part, &plan_.begins_));
    positions_ += part.positions;
    // Extents of tensors without elements may be anything.
    const uint64_t bags = std::min(part.bags, kMaxPositions + 1);
    output_bytes_ += bags * lookup.dim * sizeof(float);
    if (positions_ > kMaxPositions) {
      return Bad("ids: got ", positions_, " in all, want fewer than 2^31; send fewer rows at once");
    }
    if (bags > kMaxPositions || output_bytes_ > kMaxOutputBytes) {
      return Bad("outputs: got ", part.bags, " rows of ", lookup.dim, " numbers, want no more than ", kMaxOutputBytes,
                 " bytes in all; send fewer rows at once");
    }
    source.shards_begin = scratch_.shards.size();
    scratch_.shards.resize(scratch_.shards.size() + part.positions);
    std::fill(tallies_.begin(), tallies_.end(), Tally());
    part.counts_begin = plan_.bag_counts_.size();
    if (lookup.pooling == Pooling::kMean) plan_.bag_counts_.resize(plan_.bag_counts_.size() + part.bags);
    switch (lookup.id_kind) {
      case IdKind::kDense:
        RETURN_IF_ERROR(Sort<IdKind::kDense>(lookup, part, source));
        break;
      case IdKind::kSparse:
        RETURN_IF_ERROR(Sort<IdKind::kSparse>(lookup, part, source));
        break;
      case IdKind::kString:
        RETURN_IF_ERROR(Sort<IdKind::kString>(lookup, part, source));
        break;
    }
    Choose(index);
    return AddEntries(index);
  }

  /// Says of each id which shard's it is, and counts.
  template <IdKind kKind>
  absl::Status Sort(const Lookup& lookup, const Part& part, const Source& source) {
    const int64_t* const ids = kKind == IdKind::kString ? nullptr : source.inputs.ids.data<int64_t>().data();
    uint16_t* const shards = scratch_.shards.data() + source.shards_begin;
    if constexpr (kKind == IdKind::kString) scratch_.hashes.resize(part.positions);
    uint64_t i = 0;
    string_bytes_ = 0;
    for (uint64_t bag = 0; bag < part.bags; ++bag) {
      const uint64_t end = plan_.BeginOf(part, bag + 1);
      uint32_t members = 0;
      for (; i < end; ++i) {
        uint32_t bucket = 0;
        if constexpr (kKind == IdKind::kString) {
          const absl::string_view id = source.inputs.ids.StringAt(i);
          if (lookup.empty_is_padding && id.empty()) {
            shards[i] = kNoShard;
            continue;
          }
          if (id.size() > kMaxIdBytes) {
            return Bad("id ", i, ": got ", id.size(), " bytes, want ", kMaxIdBytes, " at most");
          }
          string_bytes_ += id.size();
          scratch_.hashes[i] = HashId(id, ShardMap::kRoutingSeed);
          bucket = static_cast<uint32_t>(scratch_.hashes[i] >> 52);
        } else {
          const int64_t id = ids[i];
          if (id == lookup.padding) {
            shards[i] = kNoShard;
            continue;
          }
          if constexpr (kKind == IdKind::kDense) {
            if (id < 0) return Bad("id ", i, ": got ", id, ", want 0 or more");
            bucket = static_cast<uint32_t>(static_cast<uint64_t>(id) % ShardMap::kBuckets);
          } else {
            bucket = static_cast<uint32_t>(HashId(static_cast<uint64_t>(id), ShardMap::kRoutingSeed) >> 52);
          }
        }
        const uint32_t shard = routes_.ShardOf(bucket);
        shards[i] = static_cast<uint16_t>(shard);
        Tally& tally = tallies_[shard];
        ++tally.ids;
        if (tally.last != bag + 1) {
          tally.last = static_cast<uint32_t>(bag + 1);
          ++tally.bags;
        }
        ++members;
      }
      if (lookup.pooling == Pooling::kMean) plan_.bag_counts_[part.counts_begin + bag] = members;
    }
    return absl::OkStatus();
  }

  /// Sums or rows, whichever are fewer bytes there and back.
  void Choose(size_t index) {
    const Lookup& lookup = spec_.lookups[index];
    Part& part = plan_.parts_[index];
    uint64_t ids = 0, bags = 0;
    for (const Tally& tally : tallies_) {
      ids += tally.ids;
      bags += tally.bags;
    }
    plan_.counts_.ids += ids;
    plan_.counts_.sent += ids;
    if (ids == 0) return;
    const uint64_t id_bytes = sizeof(int64_t) + (lookup.id_kind == IdKind::kString ? string_bytes_ / ids : 0);
    const uint64_t row_bytes = id_bytes + EncodedBytes(row_types_[index], lookup.dim);
    const uint64_t sums_bytes = bags * (lookup.dim * sizeof(float) + sizeof(int32_t)) +
                                ids * (id_bytes + (lookup.weighted ? sizeof(float) : 0));
    const KeptUse use = kept_.cache == nullptr ? KeptUse::kNone : kept_.uses[index];
    part.looked = use != KeptUse::kNone;
    uint64_t paying = sums_bytes / row_bytes;
    const uint64_t pays = paying;
    if (use == KeptUse::kLearn) {
      const uint64_t left = kMaxKeptBytes - std::min(kMaxKeptBytes, learned_bytes_);
      paying = std::max(paying, std::min(paying * kMaxLearned, left / row_bytes));
    }
    // Each id on its own goes as rows in any case.
    const uint64_t most = lookup.pooling == Pooling::kNone ? ids : std::min(ids, paying);
    if (most * (part.looked ? kMaxRepeatsKept : kMaxRepeats) < ids) return;
    Number(index, part.looked ? ids : most, most);
    if (part.form != LookupForm::kRows) return;
    if (part.rows > pays) learned_bytes_ += part.rows * row_bytes;
    plan_.counts_.sent -= ids - part.rows;
    if (!part.looked) return;
    plan_.counts_.looked += part.rows + part.kept;
    plan_.counts_.kept += part.kept;
  }

  /// Finds the distinct ids, and where their rows will be. Nothing changes where there are more than `most_distinct`,
  /// or more than `most_rows` that have to be asked for.
  void Number(size_t index, uint64_t most_distinct, uint64_t most_rows) {
    const bool strings = spec_.lookups[index].id_kind == IdKind::kString;
    Part& part = plan_.parts_[index];
    Source& source = sources_[index];
    const uint16_t* const shards = scratch_.shards.data() + source.shards_begin;
    const int64_t* const ids = strings ? nullptr : source.inputs.ids.data<int64_t>().data();
    const uint64_t* const keys = strings ? scratch_.hashes.data() : reinterpret_cast<const uint64_t*>(ids);
    source.firsts_begin = scratch_.firsts.size();
    part.places_begin = plan_.places_.size();
    plan_.places_.resize(part.places_begin + part.positions);
    uint32_t* const places = plan_.places_.data() + part.places_begin;
    scratch_.dedup.Begin(most_distinct);
    for (uint64_t i = 0; i < part.positions; ++i) {
      if (i + kAhead < part.positions) scratch_.dedup.Fetch(keys[i + kAhead]);
      if (shards[i] == kNoShard) {
        places[i] = LookupPlan::kPadding;
        continue;
      }
      const uint32_t number = scratch_.dedup.Add(keys[i], [&](uint32_t other) {
        return !strings || source.inputs.ids.StringAt(scratch_.firsts[source.firsts_begin + other]) ==
                               source.inputs.ids.StringAt(i);
      });
      if (number == IdDedup::kFull) return Forget(part, source);
      places[i] = number;
      if (number != scratch_.firsts.size() - source.firsts_begin) continue;
      scratch_.firsts.push_back(static_cast<uint32_t>(i));
      ++tallies_[shards[i]].rows;
    }
    const uint32_t distinct = scratch_.dedup.count();
    if (part.looked) TakeKept(index, distinct, most_rows);
    if (distinct - part.kept > most_rows) {
      part.kept = 0;
      part.kept_rows = Tensor();
      return Forget(part, source);
    }
    part.form = LookupForm::kRows;
    part.rows = distinct - part.kept;
    part.weights = source.inputs.weights;
    // By shard, and within one in the order that they come.
    uint32_t next = 0;
    for (Tally& tally : tallies_) {
      tally.last = next;
      next += tally.rows;
    }
    scratch_.rows.resize(distinct);
    uint32_t* const firsts = scratch_.firsts.data() + source.firsts_begin;
    uint32_t asked = 0;
    for (uint32_t number = 0; number < distinct; ++number) {
      if (part.kept != 0 && scratch_.kept[number] != kNotKept) {
        scratch_.rows[number] = part.rows + scratch_.kept[number];
        continue;
      }
      scratch_.rows[number] = tallies_[shards[firsts[number]]].last++;
      firsts[asked++] = firsts[number];
    }
    scratch_.firsts.resize(source.firsts_begin + asked);
    for (uint64_t i = 0; i < part.positions; ++i) {
      if (places[i] != LookupPlan::kPadding) places[i] = scratch_.rows[places[i]];
    }
  }

  /// The lookup gets sums.
  void Forget(const Part& part, const Source& source) {
    scratch_.firsts.resize(source.firsts_begin);
    plan_.places_.resize(part.places_begin);
  }

  /// Copies the rows of the distinct ids that are kept, and takes them off the tallies. Ends where more than
  /// `most_rows` are not kept.
  void TakeKept(size_t index, uint32_t distinct, uint64_t most_rows) {
    const Lookup& lookup = spec_.lookups[index];
    Part& part = plan_.parts_[index];
    const Source& source = sources_[index];
    const RowType type = row_types_[index];
    const size_t row_bytes = EncodedBytes(type, lookup.dim);
    const bool strings = lookup.id_kind == IdKind::kString;
    const uint16_t* const shards = scratch_.shards.data() + source.shards_begin;
    const uint32_t* const firsts = scratch_.firsts.data() + source.firsts_begin;
    part.kept_type = type;
    part.kept_stride = row_bytes;
    const uint64_t room = std::min<uint64_t>(distinct, (kMaxKeptBytes - kept_bytes_) / row_bytes);
    part.kept_rows = Tensor::Allocate(DType::kUint8, {static_cast<int64_t>(room * row_bytes)});
    char* out = part.kept_rows.mutable_bytes();
    scratch_.kept.assign(distinct, kNotKept);
    const auto key_of = [&](uint32_t number) {
      const uint32_t at = firsts[number];
      if (strings) return RowCache::Key{kept_.tables[index], scratch_.hashes[at], source.inputs.ids.StringAt(at)};
      return RowCache::Key{kept_.tables[index], static_cast<uint64_t>(source.inputs.ids.data<int64_t>()[at]), {}};
    };
    RowCache::Place places[kSetsAhead];
    uint64_t asked = 0;
    for (uint64_t ahead = 0; ahead < distinct + kSetsAhead; ++ahead) {
      if (ahead >= kSetsAhead) {
        const auto number = static_cast<uint32_t>(ahead - kSetsAhead);
        const uint16_t shard = shards[firsts[number]];
        if (part.kept < room &&
            kept_.cache->Read(places[number % kSetsAhead], key_of(number), kept_.origins[shard], out)) {
          scratch_.kept[number] = part.kept++;
          out += row_bytes;
          --tallies_[shard].rows;
        } else if (++asked > most_rows) {
          return;
        }
      }
      if (ahead < distinct) {
        places[ahead % kSetsAhead] = kept_.cache->Locate(key_of(static_cast<uint32_t>(ahead)), type, row_bytes);
      }
      if (ahead >= kSlotsAhead && ahead - kSlotsAhead < distinct) {
        kept_.cache->Fetch(places[(ahead - kSlotsAhead) % kSetsAhead]);
      }
    }
    kept_bytes_ += part.kept * row_bytes;
  }

  absl::Status AddEntries(size_t index) {
    const Part& part = plan_.parts_[index];
    const size_t dim = spec_.lookups[index].dim;
    const bool rows = part.form == LookupForm::kRows;
    plan_.numbers_ += (rows ? part.positions : part.bags) * dim;
    uint32_t first_row = 0;
    for (uint32_t shard = 0; shard < routes_.shards(); ++shard) {
      const Tally& tally = tallies_[shard];
      if ((rows ? tally.rows : tally.ids) == 0) continue;
      LookupPlan::Share& share = plan_.shares_[shard];
      Entry entry;
      entry.lookup = static_cast<uint32_t>(index);
      entry.ids = rows ? tally.rows : tally.ids;
      entry.bags = rows ? 0 : tally.bags;
      entry.bags_begin = bag_count_;
      entry.first_row = first_row;
      if (!share.entries.empty()) {
        const Entry& before = share.entries.back();
        entry.lengths_begin = before.lengths_begin + before.bags;
        entry.weights_begin = before.weights_begin + (Weighs(before) ? before.ids : 0);
      }
      share.entries.push_back(entry);
      bag_count_ += entry.bags;
      plan_.numbers_ += entry.bags * dim;
      if (rows) first_row += tally.rows;
      const uint64_t bytes = rows ? entry.ids * EncodedBytes(row_types_[index], dim) : entry.bags * dim * sizeof(float);
      answer_bytes_[shard] += bytes + LookupCall::kAlignment;
      all_answer_bytes_ += bytes;
      if (answer_bytes_[shard] > ShardLookup::kMaxReplyBytes || all_answer_bytes_ > kMaxAnswerBytes) {
        too_much_ = true;
        return Bad("rows: got more than ", kMaxAnswerBytes, " bytes of answers to wait for; send fewer rows at once");
      }
    }
    return absl::OkStatus();
  }

  /// Whether weights travel with the entry.
  bool Weighs(const Entry& entry) const {
    return spec_.lookups[entry.lookup].weighted && plan_.parts_[entry.lookup].form == LookupForm::kSums;
  }

  void Write() {
    plan_.bags_.resize(bag_count_);
    std::vector<Cursor> cursors(routes_.shards());
    for (LookupPlan::Share& share : plan_.shares_) cursors[share.shard] = Begin(share);
    std::vector<size_t> next(plan_.shares_.size());
    for (size_t index = 0; index < spec_.lookups.size(); ++index) {
      for (size_t i = 0; i < plan_.shares_.size(); ++i) {
        const LookupPlan::Share& share = plan_.shares_[i];
        if (next[i] == share.entries.size() || share.entries[next[i]].lookup != index) continue;
        Cursor& cursor = cursors[share.shard];
        cursor.bags = plan_.bags_.data() + share.entries[next[i]++].bags_begin;
        cursor.last = UINT32_MAX;
      }
      if (plan_.parts_[index].form == LookupForm::kRows) {
        WriteRows(index, cursors);
      } else {
        WriteBags(index, cursors);
      }
    }
    for (LookupPlan::Share& share : plan_.shares_) {
      const std::vector<absl::string_view>& strings = cursors[share.shard].strings;
      share.tensors[LookupCall::kStrings] = Tensor::OfStrings({static_cast<int64_t>(strings.size())}, strings);
    }
  }

  /// Takes memory for what the share sends, and writes what is known of it.
  Cursor Begin(LookupPlan::Share& share) const {
    std::vector<absl::string_view> tables;
    uint64_t ids = 0, strings = 0, bags = 0, weights = 0;
    const auto count = static_cast<int64_t>(share.entries.size());
    Tensor entries = Tensor::Allocate(DType::kInt32, {count, LookupCall::kEntryColumns});
    auto* row = reinterpret_cast<int32_t*>(entries.mutable_bytes());
    for (const Entry& entry : share.entries) {
      const Lookup& lookup = spec_.lookups[entry.lookup];
      tables.push_back(lookup.table);
      const LookupForm form = plan_.parts_[entry.lookup].form;
      const bool to_keep = form == LookupForm::kRows && kept_.cache != nullptr;
      row[LookupCall::kForm] = static_cast<int32_t>(to_keep ? LookupForm::kRowsToKeep : form);
      row[LookupCall::kIdCount] = static_cast<int32_t>(entry.ids);
      row[LookupCall::kBagCount] = static_cast<int32_t>(entry.bags);
      row[LookupCall::kWeighted] = Weighs(entry) ? 1 : 0;
      row += LookupCall::kEntryColumns;
      (lookup.id_kind == IdKind::kString ? strings : ids) += entry.ids;
      bags += entry.bags;
      if (Weighs(entry)) weights += entry.ids;
    }
    share.tensors.resize(LookupCall::kInputs);
    share.tensors[LookupCall::kTables] = Tensor::OfStrings({count}, tables);
    share.tensors[LookupCall::kEntries] = std::move(entries);
    Cursor cursor;
    cursor.ids = Take<int64_t>(share, LookupCall::kIds, ids);
    cursor.lengths = Take<int32_t>(share, LookupCall::kLengths, bags);
    cursor.weights = Take<float>(share, LookupCall::kWeights, weights);
    cursor.strings.reserve(strings);
    return cursor;
  }

  template <typename T>
  static T* Take(LookupPlan::Share& share, LookupCall::Input input, uint64_t count) {
    share.tensors[input] = Tensor::Allocate(DTypeOf<T>(), {static_cast<int64_t>(count)});
    return reinterpret_cast<T*>(share.tensors[input].mutable_bytes());
  }

  void WriteId(const Lookup& lookup, const Source& source, uint64_t at, Cursor& cursor) const {
    if (lookup.id_kind == IdKind::kString) {
      cursor.strings.push_back(source.inputs.ids.StringAt(at));
      return;
    }
    const int64_t id = source.inputs.ids.data<int64_t>()[at];
    *cursor.ids++ =
        lookup.id_kind == IdKind::kDense ? static_cast<int64_t>(routes_.LocalRow(static_cast<uint64_t>(id))) : id;
  }

  void WriteRows(size_t index, std::vector<Cursor>& cursors) const {
    const Source& source = sources_[index];
    const uint16_t* const shards = scratch_.shards.data() + source.shards_begin;
    const uint32_t* const firsts = scratch_.firsts.data() + source.firsts_begin;
    for (uint32_t number = 0; number < plan_.parts_[index].rows; ++number) {
      WriteId(spec_.lookups[index], source, firsts[number], cursors[shards[firsts[number]]]);
    }
  }

  void WriteBags(size_t index, std::vector<Cursor>& cursors) const {
    const Lookup& lookup = spec_.lookups[index];
    const Part& part = plan_.parts_[index];
    const Source& source = sources_[index];
    const uint16_t* const shards = scratch_.shards.data() + source.shards_begin;
    const float* const weights = lookup.weighted ? source.inputs.weights.data<float>().data() : nullptr;
    uint64_t i = 0;
    for (uint64_t bag = 0; bag < part.bags; ++bag) {
      for (const uint64_t end = plan_.BeginOf(part, bag + 1); i < end; ++i) {
        if (shards[i] == kNoShard) continue;
        Cursor& cursor = cursors[shards[i]];
        if (cursor.last != bag) {
          cursor.last = static_cast<uint32_t>(bag);
          *cursor.bags++ = static_cast<uint32_t>(bag);
          *cursor.lengths++ = 0;
        }
        ++cursor.lengths[-1];
        WriteId(lookup, source, i, cursor);
        if (weights != nullptr) *cursor.weights++ = weights[i];
      }
    }
  }

  const EmbeddingSpec& spec_;
  const ShardRoutes& routes_;
  const LookupPlan::RowTypes row_types_;
  const absl::Span<const Tensor> inputs_;
  const KeptRows& kept_;
  Scratch& scratch_;
  LookupPlan plan_;
  /// By lookup.
  std::vector<Source> sources_;
  /// By shard, of the lookup at hand.
  std::vector<Tally> tallies_;
  /// Of the lookup at hand.
  uint64_t string_bytes_ = 0;
  uint64_t positions_ = 0;
  uint64_t output_bytes_ = 0;
  uint64_t kept_bytes_ = 0;
  /// Of rows that are asked for though sums would be fewer.
  uint64_t learned_bytes_ = 0;
  /// By shard.
  std::vector<uint64_t> answer_bytes_;
  uint64_t all_answer_bytes_ = 0;
  bool too_much_ = false;
  uint64_t bag_count_ = 0;
};

absl::StatusOr<LookupPlan> LookupPlan::Make(const EmbeddingSpec& spec, const ShardRoutes& routes, RowTypes row_types,
                                            absl::Span<const Tensor> inputs, const KeptRows& kept) {
  if (inputs.size() != static_cast<size_t>(spec.inputs)) {
    return Bad("inputs: got ", inputs.size(), ", want ", spec.inputs);
  }
  LookupPlanner planner(spec, routes, row_types, inputs, kept);
  absl::StatusOr<LookupPlan> plan = planner.Make();
  if (!planner.too_much() || kept.cache == nullptr) return plan;
  // Rows for the cache's sake may be what is too much.
  const std::vector<KeptUse> uses(spec.lookups.size(), KeptUse::kNone);
  KeptRows nothing = kept;
  nothing.uses = uses;
  return LookupPlanner(spec, routes, row_types, inputs, nothing).Make();
}

}  // namespace portico
