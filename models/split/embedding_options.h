#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "embedding/row_type.h"
#include "embedding/table_spec.h"

namespace portico {

/// Which weights of a model become tables of a group, and how those are stored.
struct EmbeddingOptions {
  /// Smaller weights stay in the model.
  uint64_t min_bytes = uint64_t{1} << 20;
  uint32_t shards = 1;
  RowType row_type = RowType::kFloat32;
  /// What an id beyond the table gives; the unsplit model fails.
  UnknownId unknown = UnknownId::kError;
  /// Empty: the product's name and "-tables".
  std::string group;
};

/// Of "min_bytes=1MiB,shards=4,dtype=int8,unknown=zeros,group=clicks"; each key optional, dtype one of RowTypeName() or
/// fp32, fp16, bf16. INVALID_ARGUMENT names the key.
absl::StatusOr<EmbeddingOptions> ParseEmbeddingOptions(absl::string_view text);

}  // namespace portico
