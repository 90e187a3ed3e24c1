#include "embedding/shard_lookup.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

template <typename... Parts>
absl::Status Bad(LookupCall::Input input, const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat("input '", LookupCall::kInputNames[input], "'", parts...));
}

/// The counts of all entries together must be what the input has.
absl::Status CheckTotal(LookupCall::Input input, uint64_t wanted, absl::string_view what, const Tensor& tensor) {
  if (tensor.num_elements() == wanted) return absl::OkStatus();
  return Bad(input, ": got ", tensor.num_elements(), ", want ", wanted, ", ", what, " of all entries");
}

uint64_t Aligned(uint64_t bytes) {
  return (bytes + LookupCall::kAlignment - 1) / LookupCall::kAlignment * LookupCall::kAlignment;
}

}  // namespace

absl::StatusOr<ShardLookup> ShardLookup::Read(const TableSet& shard, std::vector<Tensor> inputs,
                                              uint64_t max_reply_bytes) {
  ShardLookup lookup(std::move(inputs));
  RETURN_IF_ERROR(lookup.CheckTypes());
  RETURN_IF_ERROR(lookup.ReadEntries(shard));
  if (lookup.reply_bytes_ > max_reply_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("lookup: got ", lookup.reply_bytes_,
                                                   " bytes of rows to answer with, want at most ", max_reply_bytes,
                                                   "; ask for fewer ids in one call"));
  }
  RETURN_IF_ERROR(lookup.CheckLengths());
  return lookup;
}

absl::Status ShardLookup::CheckTypes() {
  struct Want {
    DType dtype;
    size_t rank;
  };
  constexpr Want kWant[LookupCall::kInputs] = {{DType::kString, 1}, {DType::kInt32, 2}, {DType::kInt64, 1},
                                               {DType::kString, 1}, {DType::kInt32, 1}, {DType::kFloat, 1}};
  if (inputs_.size() != LookupCall::kInputs) {
    return absl::InvalidArgumentError(
        absl::StrCat("lookup: got ", inputs_.size(), " inputs, want ", int{LookupCall::kInputs}));
  }
  for (int i = 0; i < LookupCall::kInputs; ++i) {
    if (inputs_[i].dtype() != kWant[i].dtype || inputs_[i].shape().size() != kWant[i].rank) {
      return Bad(static_cast<LookupCall::Input>(i), ": got ", DTypeName(inputs_[i].dtype()),
                 ShapeString(inputs_[i].shape()), ", want ", DTypeName(kWant[i].dtype), " of rank ", kWant[i].rank);
    }
    if (kWant[i].dtype != DType::kString) inputs_[i] = inputs_[i].Aligned();
  }
  const int64_t tables = inputs_[LookupCall::kTables].rows();
  if (tables > LookupCall::kMaxEntries) {
    return Bad(LookupCall::kTables, ": got ", tables, ", want at most ", LookupCall::kMaxEntries, "; make more calls");
  }
  const Shape& entries = inputs_[LookupCall::kEntries].shape();
  if (entries[0] != tables || entries[1] != LookupCall::kEntryColumns) {
    return Bad(LookupCall::kEntries, ": got ", ShapeString(entries), ", want [", tables, ",",
               int{LookupCall::kEntryColumns}, "], a row for each table");
  }
  return absl::OkStatus();
}

absl::StatusOr<ShardLookup::Entry> ShardLookup::ReadEntry(const TableSet& shard, size_t index) const {
  const absl::Span<const int32_t> row =
      inputs_[LookupCall::kEntries].data<int32_t>().subspan(index * LookupCall::kEntryColumns);
  const auto bad = [&](absl::string_view column, absl::string_view want) {
    const size_t at = column == "form"   ? LookupCall::kForm
                      : column == "ids"  ? LookupCall::kIdCount
                      : column == "bags" ? LookupCall::kBagCount
                                         : LookupCall::kWeighted;
    return Bad(LookupCall::kEntries, ", entry ", index, ": got ", row[at], " for ", column, ", want ", want);
  };
  const bool sums = row[LookupCall::kForm] == static_cast<int32_t>(LookupForm::kSums);
  if (row[LookupCall::kForm] < 0 || row[LookupCall::kForm] > static_cast<int32_t>(LookupForm::kRowsToKeep)) {
    return bad("form", "0 (sums), 1 (rows) or 2 (rows to keep)");
  }
  if (row[LookupCall::kIdCount] < 0) return bad("ids", "0 or more");
  if (row[LookupCall::kBagCount] < 0) return bad("bags", "0 or more");
  if (!sums && row[LookupCall::kBagCount] != 0) return bad("bags", "0: rows have none");
  if (row[LookupCall::kWeighted] != 0 && row[LookupCall::kWeighted] != 1) return bad("weighted", "0 or 1");
  if (!sums && row[LookupCall::kWeighted] != 0) return bad("weighted", "0: rows have no weights");
  const absl::string_view name = inputs_[LookupCall::kTables].StringAt(index);
  Entry entry;
  entry.table = shard.Find(name);
  if (entry.table == nullptr) {
    return absl::NotFoundError(absl::StrCat("table '", name.substr(0, 255), "': not in shard file '", shard.path(),
                                            "'; 'portico table inspect' lists those that are"));
  }
  entry.form = static_cast<LookupForm>(row[LookupCall::kForm]);
  entry.ids = static_cast<uint64_t>(row[LookupCall::kIdCount]);
  entry.bags = static_cast<uint64_t>(row[LookupCall::kBagCount]);
  entry.weighted = row[LookupCall::kWeighted] == 1;
  // No overflow: less than 2^31 ids or bags of at most 2^16 bytes each, 2^12 times.
  entry.bytes = sums ? entry.bags * entry.table->spec().dim * sizeof(float) : entry.ids * entry.table->row_bytes();
  return entry;
}

absl::Status ShardLookup::ReadEntries(const TableSet& shard) {
  const auto count = static_cast<size_t>(inputs_[LookupCall::kTables].rows());
  uint64_t numbers = 0, strings = 0, bags = 0, weights = 0;
  entries_.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(Entry entry, ReadEntry(shard, i));
    uint64_t& ids = entry.table->spec().id_kind == IdKind::kString ? strings : numbers;
    entry.first_id = ids;
    entry.first_bag = bags;
    entry.first_weight = weights;
    entry.begin = Aligned(reply_bytes_);
    ids += entry.ids;
    bags += entry.bags;
    if (entry.weighted) weights += entry.ids;
    reply_bytes_ = entry.begin + entry.bytes;
    entries_.push_back(entry);
  }
  ids_ = numbers + strings;
  RETURN_IF_ERROR(CheckTotal(LookupCall::kIds, numbers, "the ids of tables of numbers", inputs_[LookupCall::kIds]));
  RETURN_IF_ERROR(
      CheckTotal(LookupCall::kStrings, strings, "the ids of tables of strings", inputs_[LookupCall::kStrings]));
  RETURN_IF_ERROR(CheckTotal(LookupCall::kLengths, bags, "the bags", inputs_[LookupCall::kLengths]));
  return CheckTotal(LookupCall::kWeights, weights, "the ids of weighted entries", inputs_[LookupCall::kWeights]);
}

absl::Status ShardLookup::CheckLengths() const {
  const absl::Span<const int32_t> lengths = inputs_[LookupCall::kLengths].data<int32_t>();
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    if (entry.form != LookupForm::kSums) continue;
    uint64_t ids = 0;
    for (uint64_t bag = entry.first_bag; bag < entry.first_bag + entry.bags; ++bag) {
      if (lengths[bag] < 0) return Bad(LookupCall::kLengths, ", bag ", bag, ": got ", lengths[bag], ", want 0 or more");
      ids += static_cast<uint64_t>(lengths[bag]);
    }
    if (ids != entry.ids) {
      return Bad(LookupCall::kLengths, ", entry ", i, ": got bags of ", ids, " ids, want ", entry.ids,
                 " as the entry has");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<LookupCounts> ShardLookup::Answer(const Entry& entry, std::vector<absl::string_view>& strings,
                                                 std::vector<int64_t>& offsets, char* out) const {
  IdBags bags;
  if (entry.table->spec().id_kind == IdKind::kString) {
    strings.clear();
    for (uint64_t i = 0; i < entry.ids; ++i) {
      strings.push_back(inputs_[LookupCall::kStrings].StringAt(entry.first_id + i));
    }
    bags.strings = strings;
  } else {
    bags.ids = inputs_[LookupCall::kIds].data<int64_t>().subspan(entry.first_id, entry.ids);
  }
  if (entry.form != LookupForm::kSums) return entry.table->CopyRows(bags, {out, entry.bytes});
  const absl::Span<const int32_t> lengths = inputs_[LookupCall::kLengths].data<int32_t>().subspan(entry.first_bag);
  offsets.resize(entry.bags + 1);
  offsets[0] = 0;
  for (uint64_t bag = 0; bag < entry.bags; ++bag) offsets[bag + 1] = offsets[bag] + lengths[bag];
  bags.offsets = offsets;
  if (entry.weighted) bags.weights = inputs_[LookupCall::kWeights].data<float>().subspan(entry.first_weight, entry.ids);
  return entry.table->Lookup(bags, Pooling::kSum, {reinterpret_cast<float*>(out), entry.bytes / sizeof(float)});
}

absl::StatusOr<std::vector<Tensor>> ShardLookup::Run() const {
  Tensor rows = Tensor::Allocate(DType::kUint8, {static_cast<int64_t>(reply_bytes_)});
  Tensor found = Tensor::Allocate(DType::kInt64, {static_cast<int64_t>(entries_.size()), LookupCall::kFoundColumns});
  auto* const numbers = reinterpret_cast<int64_t*>(found.mutable_bytes());
  // Shared by the entries.
  std::vector<absl::string_view> strings;
  std::vector<int64_t> offsets;
  uint64_t written = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    // Nothing that memory held before may leave with the answer.
    std::memset(rows.mutable_bytes() + written, 0, entry.begin - written);
    absl::StatusOr<LookupCounts> counts = Answer(entry, strings, offsets, rows.mutable_bytes() + entry.begin);
    // A table that is not here is NOT_FOUND, which another replica may have; an id is nowhere else.
    if (absl::IsNotFound(counts.status())) return absl::OutOfRangeError(counts.status().message());
    if (!counts.ok()) return counts.status();
    written = entry.begin + entry.bytes;
    int64_t* const of_entry = numbers + i * LookupCall::kFoundColumns;
    of_entry[LookupCall::kUnknown] = static_cast<int64_t>(counts->unknown);
    of_entry[LookupCall::kRowType] = static_cast<int64_t>(entry.table->spec().row_type);
    if (entry.form == LookupForm::kRowsToKeep && entry.table->memory().expires()) {
      of_entry[LookupCall::kRowType] += LookupCall::kMayExpire;
    }
    of_entry[LookupCall::kDim] = static_cast<int64_t>(entry.table->spec().dim);
    of_entry[LookupCall::kBegin] = static_cast<int64_t>(entry.begin);
  }
  std::vector<Tensor> outputs(LookupCall::kOutputs);
  outputs[LookupCall::kRows] = std::move(rows);
  outputs[LookupCall::kFound] = std::move(found);
  return outputs;
}

}  // namespace portico
