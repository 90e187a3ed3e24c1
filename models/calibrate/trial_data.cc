#include "models/calibrate/trial_data.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"

namespace portico {

absl::Status TrialData::Add(absl::Span<const NamedTensor> tensors) {
  std::vector<Tensor> taken;
  int64_t rows = -1;
  std::string counts;
  for (const TensorSpec& spec : inputs_) {
    const auto given = absl::c_find_if(tensors, [&](const NamedTensor& tensor) { return tensor.name == spec.name; });
    if (given == tensors.end()) {
      const std::string names =
          absl::StrJoin(tensors, ", ", [](std::string* out, const NamedTensor& tensor) { out->append(tensor.name); });
      return absl::InvalidArgumentError(absl::StrCat("data: got no input '", spec.name, "' among ",
                                                     names.empty() ? "none" : names, ", want ", spec.ToString()));
    }
    if (const absl::Status fits = spec.Check("input", given->tensor); !fits.ok()) return WithContext("data", fits);
    taken.push_back(given->tensor.Aligned());
    if (spec.axis != AxisKind::kRows) continue;
    absl::StrAppend(&counts, counts.empty() ? "" : ", ", "'", spec.name, "' ", given->tensor.rows());
    if (rows >= 0 && rows != given->tensor.rows()) {
      return absl::InvalidArgumentError(
          absl::StrCat("data: got other numbers of rows (", counts, "), want equally many"));
    }
    rows = given->tensor.rows();
  }
  if (rows < 0) return absl::InvalidArgumentError("data: got no input that counts rows, want one at least");
  if (rows == 0) return absl::OkStatus();
  rows_ += rows;
  const auto group = absl::c_find_if(groups_, [&](const Group& one) { return Joins(one, taken); });
  Group& to = group != groups_.end() ? *group : groups_.emplace_back();
  to.rows += rows;
  to.parts.resize(inputs_.size());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i].axis == AxisKind::kRows || to.parts[i].empty()) to.parts[i].push_back(std::move(taken[i]));
  }
  return absl::OkStatus();
}

bool TrialData::Joins(const Group& group, const std::vector<Tensor>& tensors) const {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Tensor& there = group.parts[i][0];
    const Tensor& here = tensors[i];
    if (there.dtype() != here.dtype() || there.shape().size() != here.shape().size()) return false;
    if (inputs_[i].axis == AxisKind::kRows) {
      if (!std::equal(there.shape().begin() + 1, there.shape().end(), here.shape().begin() + 1)) return false;
    } else if (there.shape() != here.shape() || there.bytes() != here.bytes()) {
      return false;
    }
  }
  return true;
}

absl::Status TrialData::Visit(int64_t batch,
                              const std::function<absl::Status(const std::vector<NamedTensor>&, int64_t)>& visit) {
  for (Group& group : groups_) {
    for (std::vector<Tensor>& parts : group.parts) {
      if (parts.size() > 1) parts = {ConcatRows(parts)};
    }
    for (int64_t begin = 0; begin < group.rows; begin += batch) {
      const int64_t count = std::min(batch, group.rows - begin);
      std::vector<NamedTensor> inputs;
      for (size_t i = 0; i < inputs_.size(); ++i) {
        const Tensor& all = group.parts[i][0];
        const bool whole = inputs_[i].axis != AxisKind::kRows || count == group.rows;
        inputs.push_back({inputs_[i].name, whole ? all : all.Slice(begin, count)});
      }
      RETURN_IF_ERROR(visit(inputs, count));
    }
  }
  return absl::OkStatus();
}

}  // namespace portico
