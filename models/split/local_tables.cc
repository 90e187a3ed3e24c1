#include "models/split/local_tables.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "embedding/group_shards.h"

namespace portico {
namespace {

absl::StatusOr<std::vector<int64_t>> Integers(const Tensor& tensor) {
  const Tensor aligned = tensor.Aligned();
  if (tensor.dtype() == DType::kInt64)
    return std::vector<int64_t>(aligned.data<int64_t>().begin(), aligned.data<int64_t>().end());
  if (tensor.dtype() == DType::kInt32)
    return std::vector<int64_t>(aligned.data<int32_t>().begin(), aligned.data<int32_t>().end());
  return absl::InvalidArgumentError(absl::StrCat("got ", DTypeName(tensor.dtype()), ", want int64 or int32"));
}

RowType RowTypeOf(DType dtype) {
  return dtype == DType::kFloat ? RowType::kFloat32 : dtype == DType::kFloat16 ? RowType::kFloat16 : RowType::kBfloat16;
}

}  // namespace

std::unique_ptr<LocalTables> LocalTables::OfWeights(const std::vector<TableWeight>& weights) {
  auto tables = std::unique_ptr<LocalTables>(new LocalTables());
  tables->shards_.resize(1);
  for (const TableWeight& weight : weights) {
    TableSpec spec;
    spec.name = weight.weight;
    spec.dim = weight.dim();
    spec.row_type = RowTypeOf(weight.values.dtype());
    TableMemory memory;
    memory.rows = weight.values.bytes().data();
    memory.row_count = weight.rows();
    memory.stride = EncodedBytes(spec.row_type, spec.dim);
    tables->weights_.push_back(std::make_unique<EmbeddingTable>(std::move(spec), memory, nullptr));
    tables->shards_[0].push_back(tables->weights_.back().get());
  }
  return tables;
}

absl::StatusOr<std::unique_ptr<LocalTables>> LocalTables::OfFiles(const std::vector<std::string>& folders) {
  auto tables = std::unique_ptr<LocalTables>(new LocalTables());
  for (const std::string& folder : folders) {
    ASSIGN_OR_RETURN(auto file, ShardFile::Open(absl::StrCat(folder, "/", kShardFile)));
    auto& shard = tables->shards_.emplace_back();
    for (const auto& table : file->tables()) shard.push_back(table.get());
    tables->files_.push_back(std::move(file));
  }
  return tables;
}

const EmbeddingTable* LocalTables::Find(uint32_t shard, absl::string_view table) const {
  for (const EmbeddingTable* one : shards_[shard]) {
    if (one->spec().name == table) return one;
  }
  return nullptr;
}

absl::Status LocalTables::Rows(absl::string_view table, absl::Span<const int64_t> ids, absl::Span<float> out) const {
  const ShardMap map(shards());
  std::vector<std::vector<int64_t>> local(shards());
  std::vector<std::vector<size_t>> places(shards());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("table '", table, "': got id ", ids[i], ", want none below 0; ids do not count from the end"));
    }
    const uint32_t shard = map.ShardOfDense(static_cast<uint64_t>(ids[i]));
    local[shard].push_back(static_cast<int64_t>(map.LocalRow(static_cast<uint64_t>(ids[i]))));
    places[shard].push_back(i);
  }
  std::vector<float> rows;
  for (uint32_t shard = 0; shard < shards(); ++shard) {
    const EmbeddingTable* found = Find(shard, table);
    if (found == nullptr)
      return absl::NotFoundError(absl::StrCat("table '", table, "': not in shard ", shard, " of ", shards()));
    const size_t dim = found->spec().dim;
    if (out.size() != ids.size() * dim) {
      return absl::InvalidArgumentError(
          absl::StrCat("table '", table, "': got dim ", dim, ", want ", ids.empty() ? 0 : out.size() / ids.size()));
    }
    rows.resize(local[shard].size() * dim);
    const IdBags bags = {.ids = local[shard], .width = 1};
    RETURN_IF_ERROR(found->Lookup(bags, Pooling::kNone, absl::MakeSpan(rows)).status());
    for (size_t i = 0; i < places[shard].size(); ++i) {
      std::copy_n(rows.begin() + i * dim, dim, out.begin() + places[shard][i] * dim);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Tensor> LocalTables::LookupOne(const EmbeddingSpec::Lookup& lookup, bool with_end,
                                              const std::vector<Tensor>& inputs) const {
  const Tensor& ids_tensor = inputs[lookup.ids];
  ASSIGN_OR_RETURN(std::vector<int64_t> ids, Integers(ids_tensor));
  // Padding counts nowhere; whatever row stands for it is not used.
  std::vector<bool> left_out(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) left_out[i] = lookup.padding.has_value() && ids[i] == *lookup.padding;
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = left_out[i] ? 0 : ids[i];
  const size_t dim = lookup.dim;
  std::vector<float> rows(ids.size() * dim);
  RETURN_IF_ERROR(Rows(lookup.table, ids, absl::MakeSpan(rows)));
  Shape shape = ids_tensor.shape();
  std::vector<int64_t> offsets;
  if (lookup.csr) {
    ASSIGN_OR_RETURN(offsets, Integers(inputs[lookup.offsets]));
    if (!with_end) offsets.push_back(static_cast<int64_t>(ids.size()));
    if (offsets.empty())
      return absl::InvalidArgumentError(
          absl::StrCat("table '", lookup.table, "': got no offsets, want at least the end of the ids"));
    shape = {static_cast<int64_t>(offsets.size()) - 1};
  } else if (lookup.pooling != Pooling::kNone) {
    const int64_t width = shape.back();
    shape.pop_back();
    ASSIGN_OR_RETURN(const uint64_t bags, NumElements(shape));
    for (uint64_t bag = 0; bag <= bags; ++bag) offsets.push_back(static_cast<int64_t>(bag) * width);
  } else if (lookup.weighted) {
    for (size_t i = 0; i <= ids.size(); ++i) offsets.push_back(static_cast<int64_t>(i));
  }
  shape.push_back(static_cast<int64_t>(dim));
  if (lookup.pooling == Pooling::kNone && !lookup.weighted) {
    for (size_t i = 0; i < ids.size(); ++i) {
      if (left_out[i]) std::fill_n(rows.begin() + i * dim, dim, 0.0f);
    }
    return Tensor::Of<float>(shape, absl::Span<const float>(rows));
  }
  absl::Span<const float> weights;
  Tensor weights_tensor;
  if (lookup.weighted) {
    weights_tensor = inputs[lookup.weights].Aligned();
    weights = weights_tensor.data<float>();
    if (weights.size() != ids.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("table '", lookup.table, "': got ", weights.size(), " weights, want ", ids.size()));
    }
  }
  const size_t bags = offsets.empty() ? 0 : offsets.size() - 1;
  std::vector<float> out(bags * dim);
  for (size_t bag = 0; bag < bags; ++bag) {
    if (offsets[bag] < 0 || offsets[bag] > offsets[bag + 1] || offsets[bag + 1] > static_cast<int64_t>(ids.size()))
      return absl::InvalidArgumentError(absl::StrCat("table '", lookup.table, "': offsets do not rise"));
    float* sum = out.data() + bag * dim;
    size_t members = 0;
    for (auto i = static_cast<size_t>(offsets[bag]); i < static_cast<size_t>(offsets[bag + 1]); ++i) {
      if (left_out[i]) continue;
      ++members;
      for (size_t d = 0; d < dim; ++d) sum[d] += rows[i * dim + d] * (weights.empty() ? 1.0f : weights[i]);
    }
    if (lookup.pooling != Pooling::kMean || members == 0) continue;
    for (size_t d = 0; d < dim; ++d) sum[d] /= static_cast<float>(members);
  }
  return Tensor::Of<float>(shape, absl::Span<const float>(out));
}

absl::StatusOr<std::vector<Tensor>> LocalTables::Lookup(const EmbeddingSpec& spec,
                                                        const std::vector<Tensor>& inputs) const {
  std::vector<Tensor> outputs;
  for (const EmbeddingSpec::Lookup& lookup : spec.lookups) {
    ASSIGN_OR_RETURN(Tensor output, LookupOne(lookup, spec.include_last_offset, inputs));
    outputs.push_back(std::move(output));
  }
  return outputs;
}

}  // namespace portico
