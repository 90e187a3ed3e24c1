#include "remote_op/shard_answer.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

template <typename... Parts>
absl::Status Wrong(const Parts&... parts) {
  return absl::InternalError(absl::StrCat(parts...));
}

}  // namespace

absl::StatusOr<ShardAnswer> ShardAnswer::Take(const EmbeddingSpec& spec, const LookupPlan& plan,
                                              const LookupPlan::Share& share, std::vector<Tensor> tensors) {
  ShardAnswer answer;
  answer.rows = std::move(tensors[LookupCall::kRows]);
  const Tensor found = tensors[LookupCall::kFound].Aligned();
  const Shape wanted = {static_cast<int64_t>(share.entries.size()), LookupCall::kFoundColumns};
  if (answer.rows.dtype() != DType::kUint8 || found.dtype() != DType::kInt64 || found.shape() != wanted) {
    return Wrong("got rows ", DTypeName(answer.rows.dtype()), " and found ", DTypeName(found.dtype()),
                 ShapeString(found.shape()), ", want uint8 and int64", ShapeString(wanted));
  }
  const absl::Span<const int64_t> numbers = found.data<int64_t>();
  const absl::string_view bytes = answer.rows.bytes();
  for (size_t i = 0; i < share.entries.size(); ++i) {
    const LookupPlan::Entry& asked = share.entries[i];
    const EmbeddingSpec::Lookup& lookup = spec.lookups[asked.lookup];
    const int64_t* const said = numbers.data() + i * LookupCall::kFoundColumns;
    const auto dim = static_cast<int64_t>(lookup.dim);
    if (said[LookupCall::kDim] != dim) {
      return Wrong("table '", lookup.table, "': got rows of ", said[LookupCall::kDim], " numbers, want ", dim,
                   " as the portal declares; the tables are of another model");
    }
    int64_t type = said[LookupCall::kRowType];
    // Only where it was asked for; otherwise it is no type.
    const bool expires = plan.asks_to_keep() && type >= LookupCall::kMayExpire;
    if (expires) type -= LookupCall::kMayExpire;
    if (type < 0 || type >= kRowTypes) {
      return Wrong("table '", lookup.table, "': got row type ", type, ", want 0 to ", kRowTypes - 1);
    }
    const int64_t unknown = said[LookupCall::kUnknown];
    if (unknown < 0 || unknown > static_cast<int64_t>(asked.ids)) {
      return Wrong("table '", lookup.table, "': got ", unknown, " unknown ids of ", asked.ids);
    }
    ShardAnswer::Entry entry;
    entry.row_type = static_cast<RowType>(type);
    entry.unknown = static_cast<uint64_t>(unknown);
    entry.lasts = !expires;
    // Neither product overflows: both factors were bounded when the plan was made.
    const uint64_t size = plan.parts()[asked.lookup].form == LookupForm::kSums
                              ? uint64_t{asked.bags} * lookup.dim * sizeof(float)
                              : uint64_t{asked.ids} * EncodedBytes(entry.row_type, lookup.dim);
    const auto begin = static_cast<uint64_t>(said[LookupCall::kBegin]);
    if (said[LookupCall::kBegin] < 0 || begin > bytes.size() || bytes.size() - begin < size ||
        begin % LookupCall::kAlignment != 0) {
      return Wrong("table '", lookup.table, "': got ", bytes.size(), " bytes with the rows at ",
                   said[LookupCall::kBegin], ", want ", size, " bytes of them there");
    }
    entry.rows = bytes.data() + begin;
    answer.entries.push_back(entry);
  }
  return answer;
}

}  // namespace portico
