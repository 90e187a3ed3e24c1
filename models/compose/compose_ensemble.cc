#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/compose/common_outputs.h"
#include "models/compose/compose.h"

namespace portico {
namespace {

/// The graph: all members beside each other, then ordinary ops over what they answer.
class EnsembleComposer {
 public:
  EnsembleComposer(const Composition& composition, const FindIngredient& find)
      : composition_(composition), find_(find) {}

  absl::StatusOr<ComposedModel> Run() {
    for (const CompositionMember& member : composition_.members) {
      ASSIGN_OR_RETURN(BoundMember bound, BindMember(composition_, member, false, find_));
      members_.push_back(std::move(bound));
    }
    ASSIGN_OR_RETURN(const std::vector<std::string> names, CommonNames());
    std::vector<const BoundMember*> members;
    for (const BoundMember& member : members_) members.push_back(&member);
    ASSIGN_OR_RETURN(assembly_, GraphAssembly::Create(composition_, members));
    for (const BoundMember& member : members_) {
      ASSIGN_OR_RETURN(const std::vector<TensorSpec> inputs, assembly_->Inputs(member, {}));
      answers_.push_back(assembly_->Call(member, inputs));
    }
    std::vector<TensorSpec> outputs;
    for (const std::string& name : names) {
      ASSIGN_OR_RETURN(TensorSpec output, Combine(name));
      outputs.push_back(std::move(output));
    }
    return std::move(*assembly_).Finish(std::move(outputs));
  }

 private:
  using How = Composition::Combine;

  /// As CommonOutputs(), but of concatenated rows the extents may differ.
  absl::StatusOr<std::vector<std::string>> CommonNames() const {
    if (composition_.ensemble.combine != How::kConcat) return CommonOutputs(composition_, members_);
    std::vector<BoundMember> open = members_;
    for (BoundMember& member : open) {
      for (TensorSpec& output : member.outputs) {
        if (output.dims.size() > 1) output.dims.back() = Dim();
      }
    }
    return CommonOutputs(composition_, open);
  }

  absl::StatusOr<TensorSpec> Combine(const std::string& name) {
    std::vector<TensorSpec> parts;
    for (const std::vector<TensorSpec>& answers : answers_) parts.push_back(*FindSpec(answers, name));
    TensorSpec result = parts[0];
    switch (composition_.ensemble.combine) {
      case How::kMean:
        RETURN_IF_ERROR(Mean(parts, result));
        break;
      case How::kVote:
        RETURN_IF_ERROR(Vote(parts, result));
        break;
      case How::kConcat:
        RETURN_IF_ERROR(Concat(parts, result));
        break;
    }
    return result;
  }

  absl::Status Refuse(const TensorSpec& got, absl::string_view want) const {
    return composition_.ErrorAt(composition_.line,
                                absl::StrCat("output '", got.name, "': got ", got.ToString(), ", want ", want,
                                             "; say which are combined in 'outputs'"));
  }

  OpWriter& ops() { return assembly_->ops(); }

  absl::Status Mean(const std::vector<TensorSpec>& parts, TensorSpec& result) {
    if (result.dtype != DType::kFloat && result.dtype != DType::kDouble) {
      return Refuse(result, "float32 or float64 for 'combine: mean'");
    }
    const auto number = [&](double value) {
      return ops().Constant(result.dtype == DType::kFloat ? Tensor::Of<float>({}, {static_cast<float>(value)})
                                                          : Tensor::Of<double>({}, {value}));
    };
    const std::vector<float>& weights = composition_.ensemble.weights;
    double total = 0;
    std::string sum;
    for (size_t i = 0; i < parts.size(); ++i) {
      std::string term = parts[i].graph_name;
      if (!weights.empty()) term = ops().Add("Mul", {term, number(weights[i])});
      total += weights.empty() ? 1 : weights[i];
      sum = sum.empty() ? term : ops().Add("Add", {sum, term});
    }
    result.graph_name = ops().Add("Div", {sum, number(total)});
    return absl::OkStatus();
  }

  /// What most say, row by row; of equally many, what the first of those members says.
  absl::Status Vote(const std::vector<TensorSpec>& parts, TensorSpec& result) {
    const bool scores = result.dtype == DType::kFloat || result.dtype == DType::kDouble;
    const bool one_each = result.dims.size() == 1 || (result.dims.size() == 2 && result.dims[1].extent == 1);
    const bool labels = result.dtype == DType::kInt64 || result.dtype == DType::kInt32 ||
                        result.dtype == DType::kBool || result.dtype == DType::kString;
    if (!result.has_rank || (scores ? result.dims.size() != 2 || one_each : !labels || !one_each)) {
      return Refuse(result,
                    "a label per row (int64, int32, bool or string, [N]) or a row of scores (float32[N,C]) for "
                    "'combine: vote'");
    }
    if (result.dtype == DType::kString && ops().opset() < OpWriter::kTextEqualOpset) {
      return Refuse(result, absl::StrCat("no text in a graph of opset ", ops().opset(), ", or opset ",
                                         OpWriter::kTextEqualOpset, "; export the models for it, or leave inline out"));
    }
    std::vector<std::string> columns;
    for (const TensorSpec& part : parts) {
      if (scores) {
        columns.push_back(ops().Add("ArgMax", {part.graph_name}, {{"axis", int64_t{1}}, {"keepdims", int64_t{1}}}));
      } else {
        columns.push_back(part.dims.size() == 1 ? ops().Unsqueeze(part.graph_name, 1) : part.graph_name);
      }
    }
    const std::string votes = ops().Add("Concat", columns, {{"axis", int64_t{1}}});
    const std::string same = ops().Add("Equal", {ops().Unsqueeze(votes, 2), ops().Unsqueeze(votes, 1)});
    const std::string counts = ops().Reduce("ReduceSum", ops().Cast(same, DType::kInt64), 2);
    const std::string best =
        ops().Add("ArgMax", {ops().Squeeze(counts, 2)}, {{"axis", int64_t{1}}, {"keepdims", int64_t{1}}});
    result.graph_name = ops().Add("GatherElements", {votes, best}, {{"axis", int64_t{1}}});
    if (scores || result.dims.size() == 1) {
      result.graph_name = ops().Squeeze(result.graph_name, 1);
      result.dims.resize(1);
    }
    if (scores) result.dtype = DType::kInt64;
    return absl::OkStatus();
  }

  absl::Status Concat(const std::vector<TensorSpec>& parts, TensorSpec& result) {
    if (!result.has_rank || result.dims.empty()) return Refuse(result, "[N] or more dims for 'combine: concat'");
    std::vector<std::string> tensors;
    Dim width{.extent = 0};
    for (const TensorSpec& part : parts) {
      const bool flat = part.dims.size() == 1;
      tensors.push_back(flat ? ops().Unsqueeze(part.graph_name, 1) : part.graph_name);
      const int64_t extent = flat ? 1 : part.dims.back().extent;
      width.extent = extent < 0 || width.extent < 0 ? -1 : width.extent + extent;
    }
    result.graph_name = ops().Add("Concat", tensors, {{"axis", int64_t{-1}}});
    if (result.dims.size() == 1) result.dims.emplace_back();
    result.dims.back() = width;
    return absl::OkStatus();
  }

  const Composition& composition_;
  const FindIngredient& find_;
  std::vector<BoundMember> members_;
  std::unique_ptr<GraphAssembly> assembly_;
  /// Of each member.
  std::vector<std::vector<TensorSpec>> answers_;
};

}  // namespace

absl::StatusOr<ComposedModel> ComposeEnsemble(const Composition& composition, const FindIngredient& find) {
  return EnsembleComposer(composition, find).Run();
}

}  // namespace portico
