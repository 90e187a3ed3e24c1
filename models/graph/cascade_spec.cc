#include "models/graph/cascade_spec.h"

#include <string>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "models/graph/graph_plan.h"
#include "models/graph/portal_attributes.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

using OnRowError = CascadeSpec::OnRowError;

absl::StatusOr<OnRowError> ReadOnRowError(const onnx::NodeProto& node) {
  ASSIGN_OR_RETURN(const std::string text, StringAttribute(node, "on_row_error", "mark"));
  for (const OnRowError action : {OnRowError::kCheap, OnRowError::kMark, OnRowError::kFail}) {
    if (text == OnRowErrorName(action)) return action;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("attribute 'on_row_error': got '", text, "', want one of cheap, mark, fail"));
}

/// `inputs`: how many the full model has.
absl::StatusOr<std::vector<bool>> ReadShared(const onnx::NodeProto& node, size_t inputs) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, StringsAttribute(node, "input_names"));
  ASSIGN_OR_RETURN(const std::vector<std::string> shared, StringsAttribute(node, "shared_inputs"));
  std::vector<bool> is_shared(inputs, false);
  for (const std::string& name : shared) {
    const auto found = absl::c_find(names, name);
    if (found == names.end()) {
      return absl::InvalidArgumentError(absl::StrCat("attribute 'shared_inputs': got '", name, "', want one of ",
                                                     absl::StrJoin(names, ", "), ", the full model's inputs"));
    }
    const auto at = static_cast<size_t>(found - names.begin());
    if (at < inputs) is_shared[at] = true;  // That there are too many names is found elsewhere.
  }
  if (absl::c_linear_search(is_shared, false)) return is_shared;
  return absl::InvalidArgumentError(
      "attribute 'shared_inputs': got all inputs of the full model, want one at least that has rows; without one it "
      "would not know for which rows it is asked");
}

/// What keeps dim 0 of a tensor from being its rows; empty where nothing does. `rows`: the symbol of rows, or empty.
std::string WhyNoRows(const TensorSpec& spec) {
  if (!spec.has_rank) return "";
  if (spec.dims.empty()) return "rows in dim 0, not a scalar";
  const Dim& rows = spec.dims[0];
  if (rows.extent >= 0) return "a symbol or '?' for dim 0, which counts rows: any number of them may come";
  for (size_t d = 1; d < spec.dims.size(); ++d) {
    if (!rows.symbol.empty() && spec.dims[d].extent < 0 && spec.dims[d].symbol == rows.symbol) {
      return absl::StrCat("rows in dim 0 alone; with '", rows.symbol, "' in dim ", d, " too they can't be taken apart");
    }
  }
  return "";
}

/// Whether a tensor of `got` might be one of `want` but for its rows.
bool MayBe(const TensorSpec& got, const TensorSpec& want) {
  if (got.dtype != DType::kInvalid && want.dtype != DType::kInvalid && got.dtype != want.dtype) return false;
  if (!got.has_rank || !want.has_rank) return true;
  if (got.dims.size() != want.dims.size()) return false;
  for (size_t d = 1; d < got.dims.size(); ++d) {
    const int64_t a = got.dims[d].extent, b = want.dims[d].extent;
    if (a >= 0 && b >= 0 && a != b) return false;
  }
  return true;
}

}  // namespace

absl::string_view OnRowErrorName(OnRowError action) {
  switch (action) {
    case OnRowError::kCheap:
      return "cheap";
    case OnRowError::kMark:
      return "mark";
    case OnRowError::kFail:
      return "fail";
  }
  return "unknown";
}

absl::StatusOr<CascadeSpec> ReadCascadeSpec(const onnx::NodeProto& node) {
  CascadeSpec spec;
  ASSIGN_OR_RETURN(spec.on_row_error, ReadOnRowError(node));
  ASSIGN_OR_RETURN(spec.row_status, BoolAttribute(node, "row_status"));
  ASSIGN_OR_RETURN(spec.watch, ReadCascadeWatch(node));
  const int answers = node.output_size() - (spec.row_status ? 1 : 0);
  if (answers < 1) {
    return absl::InvalidArgumentError(absl::StrCat("outputs: got ", node.output_size(), ", want one answer at least",
                                                   spec.row_status ? ", and the row status behind it" : ""));
  }
  spec.answers = static_cast<size_t>(answers);
  const int inputs = node.input_size() - spec.own_inputs();
  if (inputs < 1) {
    return absl::InvalidArgumentError(absl::StrCat("inputs: got ", node.input_size(), ", want ", spec.own_inputs() + 1,
                                                   " at least: escalate, a cheap answer for each of ", answers,
                                                   " outputs, then the inputs of the full model",
                                                   spec.watch.browns_out() ? ", then how much each row needs it" : ""));
  }
  ASSIGN_OR_RETURN(spec.shared, ReadShared(node, static_cast<size_t>(inputs)));
  return spec;
}

absl::Status CheckCascadeAnswers(const PortalSpec& portal) {
  for (size_t i = 0; i < portal.cascade->answers; ++i) {
    const TensorSpec& answer = portal.outputs[i];
    const std::string why = WhyNoRows(answer);
    if (why.empty()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'output_shapes': output '", answer.name, "': got ", answer.ToString(), ", want ", why));
  }
  return absl::OkStatus();
}

absl::Status CheckCascadeInputs(const PortalSpec& portal, absl::Span<const std::optional<TensorSpec>> inputs) {
  const CascadeSpec& cascade = *portal.cascade;
  TensorSpec escalate;
  escalate.dtype = DType::kBool;
  escalate.dims = {Dim{-1, "N"}};
  if (inputs[0].has_value() && !MayBe(*inputs[0], escalate)) {
    return absl::InvalidArgumentError(absl::StrCat("input 'escalate': got ", inputs[0]->ToString(), ", want ",
                                                   escalate.ToString(), ", which rows the full model is to answer"));
  }
  TensorSpec need = escalate;
  need.dtype = DType::kFloat;
  if (cascade.watch.browns_out() && inputs.back().has_value() && !MayBe(*inputs.back(), need)) {
    return absl::InvalidArgumentError(absl::StrCat("the last input: got ", inputs.back()->ToString(), ", want ",
                                                   need.ToString(),
                                                   ", how much each row needs the full model: what "
                                                   "'brown_out_max_shed' goes by"));
  }
  for (size_t i = 0; i < cascade.answers; ++i) {
    const std::optional<TensorSpec>& cheap = inputs[1 + i];
    if (!cheap.has_value() || MayBe(*cheap, portal.outputs[i])) continue;
    return absl::InvalidArgumentError(absl::StrCat("input ", 1 + i, ", the cheap answer '", portal.outputs[i].name,
                                                   "': got ", cheap->ToString(), ", want ",
                                                   portal.outputs[i].ToString(), " as the full model answers"));
  }
  for (size_t i = 0; i < cascade.shared.size(); ++i) {
    const std::optional<TensorSpec>& input = inputs[1 + cascade.answers + i];
    if (cascade.shared[i] || !input.has_value() || !input->has_rank || !input->dims.empty()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("input ", 1 + cascade.answers + i, ": got ", input->ToString(),
                     ", want rows in dim 0; name it in 'shared_inputs' where the full model is to get it whole"));
  }
  return absl::OkStatus();
}

}  // namespace portico
