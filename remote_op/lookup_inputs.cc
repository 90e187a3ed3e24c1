#include "remote_op/lookup_inputs.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

template <typename... Parts>
absl::Status Bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

std::string TypeOf(const Tensor& tensor) {
  return absl::StrCat(DTypeName(tensor.dtype()), ShapeString(tensor.shape()));
}

absl::StatusOr<Tensor> Wide(absl::string_view what, const Tensor& tensor) {
  const Tensor aligned = tensor.Aligned();
  if (tensor.dtype() == DType::kInt64) return aligned;
  if (tensor.dtype() != DType::kInt32) return Bad(what, ": got ", TypeOf(tensor), ", want int64 or int32");
  Tensor wide = Tensor::Allocate(DType::kInt64, tensor.shape());
  const absl::Span<const int32_t> narrow = aligned.data<int32_t>();
  std::copy(narrow.begin(), narrow.end(), reinterpret_cast<int64_t*>(wide.mutable_bytes()));
  return wide;
}

absl::Status ReadOffsets(const Tensor& input, bool include_last, LookupPlan::Part* part,
                         std::vector<uint64_t>* begins) {
  if (input.shape().size() != 1) return Bad("offsets: got ", TypeOf(input), ", want one axis");
  ASSIGN_OR_RETURN(const Tensor wide, Wide("offsets", input));
  const absl::Span<const int64_t> offsets = wide.data<int64_t>();
  if (offsets.empty() && (include_last || part->positions != 0)) {
    return Bad("offsets: got none for ", part->positions, " ids, want where each bag begins",
               include_last ? ", and the number of ids" : "");
  }
  part->begins_begin = begins->size();
  int64_t before = 0;
  for (size_t i = 0; i < offsets.size(); ++i) {
    if (i == 0 && offsets[0] != 0) return Bad("offset 0: got ", offsets[0], ", want 0");
    if (offsets[i] < before) return Bad("offset ", i, ": got ", offsets[i], " behind ", before, ", want no decrease");
    if (static_cast<uint64_t>(offsets[i]) > part->positions) {
      return Bad("offset ", i, ": got ", offsets[i], ", want ", part->positions, " at most, the number of ids");
    }
    before = offsets[i];
    begins->push_back(static_cast<uint64_t>(before));
  }
  part->bags = offsets.size();
  if (!include_last) {
    begins->push_back(part->positions);
    return absl::OkStatus();
  }
  --part->bags;
  if (static_cast<uint64_t>(before) == part->positions) return absl::OkStatus();
  return Bad("offset ", part->bags, ": got ", before, ", want ", part->positions, ", the number of ids");
}

absl::StatusOr<Tensor> ReadWeights(const Tensor& weights, const Shape& ids) {
  if (weights.dtype() != DType::kFloat || weights.shape() != ids) {
    return Bad("weights: got ", TypeOf(weights), ", want float32", ShapeString(ids), ", one for each id");
  }
  Tensor aligned = weights.Aligned();
  const absl::Span<const float> values = aligned.data<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return Bad("weight ", i, ": got ", values[i], ", want a finite number");
  }
  return aligned;
}

}  // namespace

absl::StatusOr<LookupInputs> ReadLookupInputs(const EmbeddingSpec& spec, const EmbeddingSpec::Lookup& lookup,
                                              absl::Span<const Tensor> inputs, LookupPlan::Part* part,
                                              std::vector<uint64_t>* begins) {
  LookupInputs read;
  const Tensor& ids = inputs[static_cast<size_t>(lookup.ids)];
  if (lookup.id_kind == IdKind::kString) {
    if (ids.dtype() != DType::kString) return Bad("ids: got ", TypeOf(ids), ", want strings");
    read.ids = ids;
  } else {
    ASSIGN_OR_RETURN(read.ids, Wide("ids", ids));
  }
  part->positions = ids.num_elements();
  part->csr = lookup.csr;
  if (lookup.csr) {
    if (ids.shape().size() != 1) return Bad("ids: got ", TypeOf(ids), ", want one axis; offsets divide them");
    RETURN_IF_ERROR(ReadOffsets(inputs[static_cast<size_t>(lookup.offsets)], spec.include_last_offset, part, begins));
    part->output = {static_cast<int64_t>(part->bags)};
  } else {
    part->output = ids.shape();
    part->width = 1;
    if (lookup.pooling == Pooling::kNone) {
      part->bags = part->positions;
    } else {
      if (ids.shape().empty()) return Bad("ids: got ", TypeOf(ids), ", want an axis that is the bag");
      part->width = static_cast<uint64_t>(ids.shape().back());
      part->output.pop_back();
      // Without ids the bags are there all the same.
      ASSIGN_OR_RETURN(part->bags, NumElements(part->output));
    }
  }
  part->output.push_back(static_cast<int64_t>(lookup.dim));
  if (lookup.weighted) {
    ASSIGN_OR_RETURN(read.weights, ReadWeights(inputs[static_cast<size_t>(lookup.weights)], read.ids.shape()));
  }
  return read;
}

}  // namespace portico
