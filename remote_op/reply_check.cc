#include "remote_op/reply_check.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace portico {

ReplyCheck::ReplyCheck(std::string target, std::vector<TensorSpec> outputs, bool by_name)
    : target_(std::move(target)), outputs_(std::move(outputs)), by_name_(by_name) {
  absl::flat_hash_map<std::string, std::pair<size_t, size_t>> first;
  for (size_t o = 0; o < outputs_.size(); ++o) {
    for (size_t d = 0; d < outputs_[o].dims.size(); ++d) {
      const Dim& dim = outputs_[o].dims[d];
      if (dim.extent >= 0 || dim.symbol.empty()) continue;
      const auto [found, inserted] = first.try_emplace(dim.symbol, o, d);
      // Equal symbols within one output are TensorSpec's own check.
      if (!inserted && found->second.first != o) same_.push_back({found->second.first, found->second.second, o, d});
    }
  }
}

absl::StatusOr<std::vector<Tensor>> ReplyCheck::Take(PeerMessage reply) const {
  for (const RowStatus& row : reply.header.row_status) {
    if (!row.kind.empty()) continue;  // Something stands in the row, and the caller is told.
    return Wrong(absl::StrCat("got a failure of row ", row.row, " (", row.message, "), want all rows"));
  }
  // By name, what is not declared is not wanted: a server of somebody else's make sends all it has.
  if (by_name_ ? reply.tensors.size() < outputs_.size() : reply.tensors.size() != outputs_.size()) {
    return Wrong(absl::StrCat(
        "got ", reply.tensors.size(), " outputs, want ", outputs_.size(), " (",
        absl::StrJoin(outputs_, ", ",
                      [](std::string* out, const TensorSpec& spec) { absl::StrAppend(out, "'", spec.name, "'"); }),
        "); the portal was cut from another version of its target"));
  }
  std::vector<Tensor> outputs;
  outputs.reserve(outputs_.size());
  for (size_t i = 0; i < outputs_.size(); ++i) {
    size_t at = i;
    if (by_name_) {
      const auto& metas = reply.header.tensors;
      at = std::find_if(metas.begin(), metas.end(),
                        [&](const TensorMeta& meta) { return meta.name == outputs_[i].name; }) -
           metas.begin();
      if (at >= reply.tensors.size()) {
        return Wrong(absl::StrCat(
            "output '", outputs_[i].name, "': got outputs ",
            absl::StrJoin(metas, ", ",
                          [](std::string* out, const TensorMeta& meta) { absl::StrAppend(out, "'", meta.name, "'"); }),
            ", want one of this name"));
      }
    }
    if (absl::Status status = outputs_[i].Check("output", reply.tensors[at]); !status.ok())
      return Wrong(status.message());
    outputs.push_back(reply.tensors[at].Unpinned());
  }
  if (absl::Status status = CheckSymbols(outputs); !status.ok()) return status;
  return outputs;
}

absl::Status ReplyCheck::CheckSymbols(const std::vector<Tensor>& outputs) const {
  for (const SameExtent& same : same_) {
    const Tensor& a = outputs[same.output_a];
    const Tensor& b = outputs[same.output_b];
    if (a.shape()[same.dim_a] == b.shape()[same.dim_b]) continue;
    return Wrong(absl::StrCat(
        "output '", outputs_[same.output_b].name, "': got ", DTypeName(b.dtype()), ShapeString(b.shape()), " beside '",
        outputs_[same.output_a].name, "' ", DTypeName(a.dtype()), ShapeString(a.shape()), ", want ",
        outputs_[same.output_b].ToString(), " with the same ", outputs_[same.output_b].dims[same.dim_b].symbol));
  }
  return absl::OkStatus();
}

absl::Status ReplyCheck::Wrong(absl::string_view what) const {
  return absl::InternalError(absl::StrCat("portal to '", target_, "': ", what));
}

}  // namespace portico
