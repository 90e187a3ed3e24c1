#include "models/split/embedding_options.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/byte_size.h"
#include "base/status_macros.h"
#include "embedding/shard_map.h"
#include "models/split/plan.h"

namespace portico {
namespace {

absl::StatusOr<RowType> ParseRowType(absl::string_view text) {
  constexpr std::pair<absl::string_view, RowType> kShort[] = {
      {"fp32", RowType::kFloat32}, {"fp16", RowType::kFloat16}, {"bf16", RowType::kBfloat16}};
  for (const auto& [name, type] : kShort) {
    if (text == name) return type;
  }
  return RowTypeFromName(text);
}

absl::Status Set(absl::string_view key, absl::string_view value, EmbeddingOptions* options) {
  if (key == "min_bytes") {
    ASSIGN_OR_RETURN(options->min_bytes, ParseByteSize(value));
  } else if (key == "shards") {
    if (!absl::SimpleAtoi(value, &options->shards) || options->shards < 1 || options->shards > ShardMap::kMaxShards) {
      return absl::InvalidArgumentError(absl::StrCat("got '", value, "', want 1 to ", ShardMap::kMaxShards));
    }
  } else if (key == "dtype") {
    ASSIGN_OR_RETURN(options->row_type, ParseRowType(value));
  } else if (key == "unknown") {
    ASSIGN_OR_RETURN(options->unknown, UnknownIdFromName(value));
    if (options->unknown == UnknownId::kDefaultRow)
      return absl::InvalidArgumentError("got 'default', want error or zeros; a model has no default row");
  } else if (key == "group") {
    RETURN_IF_ERROR(CheckServableName(value));
    options->group = std::string(value);
  } else {
    return absl::InvalidArgumentError("got it, want one of min_bytes, shards, dtype, unknown, group");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<EmbeddingOptions> ParseEmbeddingOptions(absl::string_view text) {
  EmbeddingOptions options;
  for (const absl::string_view pair : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(pair, absl::MaxSplits('=', 1));
    const absl::Status set = Set(parts.first, parts.second, &options);
    if (!set.ok()) return WithContext(absl::StrCat("--embeddings, key '", parts.first, "'"), set);
  }
  return options;
}

}  // namespace portico
