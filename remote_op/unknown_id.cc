#include "remote_op/unknown_id.h"

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "embedding/shard_map.h"

namespace portico {
namespace {

/// Takes a number off the front.
bool TakeNumber(absl::string_view* text, uint64_t* number) {
  const size_t digits = std::min(text->find_first_not_of("0123456789"), text->size());
  if (!absl::SimpleAtoi(text->substr(0, digits), number)) return false;
  text->remove_prefix(digits);
  return true;
}

/// One entry of a share, whose shard may have refused an id of it.
class Refusal {
 public:
  Refusal(const EmbeddingSpec::Lookup& lookup, const LookupPlan& plan, const LookupPlan::Share& share,
          const LookupPlan::Entry& entry, uint64_t first_id, uint32_t shards)
      : lookup_(lookup),
        plan_(plan),
        share_(share),
        entry_(entry),
        first_id_(first_id),
        map_(shards),
        head_(absl::StrCat("table '", lookup.table, "': id ")) {}

  /// False where the message is of something else.
  bool Translate(absl::string_view message, std::string* text) const {
    const size_t begin = message.rfind(head_);
    if (begin == absl::string_view::npos) return false;
    absl::string_view rest = message.substr(begin + head_.size());
    uint64_t index = 0;
    if (!TakeNumber(&rest, &index) || index >= entry_.ids || !absl::ConsumePrefix(&rest, ": got ")) return false;
    std::string id;
    if (lookup_.id_kind == IdKind::kString) {
      id = absl::StrCat("'", share_.tensors[LookupCall::kStrings].StringAt(first_id_ + index), "'");
    } else {
      id = absl::StrCat(share_.tensors[LookupCall::kIds].data<int64_t>()[first_id_ + index]);
    }
    // Another lookup of the same table may be meant.
    if (!absl::ConsumePrefix(&rest, id) || !absl::StartsWith(rest, ",")) return false;
    if (lookup_.id_kind == IdKind::kDense) {
      const int64_t row = share_.tensors[LookupCall::kIds].data<int64_t>()[first_id_ + index];
      id = absl::StrCat(map_.DenseId(share_.shard, static_cast<uint64_t>(row)));
    }
    *text = absl::StrCat(message.substr(0, begin), "table '", lookup_.table, "': ", PlaceOf(index), ": got ", id);
    uint64_t rows = 0;
    if (lookup_.id_kind == IdKind::kDense && absl::ConsumePrefix(&rest, ", want less than ") &&
        TakeNumber(&rest, &rows)) {
      // The first that this shard does not have: those of other shards end close by.
      absl::StrAppend(text, ", want less than ", map_.DenseId(share_.shard, rows));
      absl::ConsumePrefix(&rest, ", the number of rows");
    }
    absl::StrAppend(text, rest);
    return true;
  }

 private:
  /// Of an id of the entry, in the request.
  std::string PlaceOf(uint64_t index) const {
    const LookupPlan::Part& part = plan_.parts()[entry_.lookup];
    if (part.form == LookupForm::kRows) {
      const absl::Span<const uint32_t> places = plan_.PlacesOf(part);
      const auto first = std::find(places.begin(), places.end(), entry_.first_row + index);
      return absl::StrCat("id ", first - places.begin());
    }
    const absl::Span<const int32_t> lengths =
        share_.tensors[LookupCall::kLengths].data<int32_t>().subspan(entry_.lengths_begin, entry_.bags);
    size_t bag = 0;
    for (uint64_t end = 0; bag < lengths.size(); ++bag) {
      end += static_cast<uint64_t>(lengths[bag]);
      if (index < end) break;
    }
    return absl::StrCat("bag ", plan_.BagsOf(entry_)[bag]);
  }

  const EmbeddingSpec::Lookup& lookup_;
  const LookupPlan& plan_;
  const LookupPlan::Share& share_;
  const LookupPlan::Entry& entry_;
  /// Of the entry's ids, among those that were sent.
  const uint64_t first_id_;
  const ShardMap map_;
  const std::string head_;
};

}  // namespace

absl::Status AsAsked(const absl::Status& error, const EmbeddingSpec& spec, const LookupPlan& plan,
                     const LookupPlan::Share& share, uint32_t shards) {
  if (!absl::IsOutOfRange(error)) return error;
  uint64_t numbers = 0, strings = 0;
  for (const LookupPlan::Entry& entry : share.entries) {
    const EmbeddingSpec::Lookup& lookup = spec.lookups[entry.lookup];
    uint64_t& first = lookup.id_kind == IdKind::kString ? strings : numbers;
    std::string text;
    if (Refusal(lookup, plan, share, entry, first, shards).Translate(error.message(), &text))
      return absl::Status(error.code(), text);
    first += entry.ids;
  }
  return error;
}

}  // namespace portico
