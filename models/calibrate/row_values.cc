#include "models/calibrate/row_values.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/compose/expression_compiler.h"
#include "models/compose/op_writer.h"
#include "models/split/submodel.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// ONNX of OpWriter::kTextEqualOpset.
constexpr int64_t kIrVersion = 9;
constexpr int64_t kMlOpset = 3;

template <typename T>
void AppendNumbers(const Tensor& values, std::vector<double>& column) {
  for (const T value : values.data<T>()) column.push_back(static_cast<double>(value));
}

}  // namespace

absl::StatusOr<std::unique_ptr<RowValues>> RowValues::Create(const std::vector<Wanted>& wanted,
                                                             absl::Span<const TensorSpec> outputs, TextNumbers& texts) {
  onnx::ModelProto model;
  model.set_ir_version(kIrVersion);
  model.mutable_graph()->set_name("row values");
  onnx::OperatorSetIdProto* opset = model.add_opset_import();
  opset->set_version(OpWriter::kTextEqualOpset);
  OpWriter ops(*model.mutable_graph(), "values/", OpWriter::kTextEqualOpset, kMlOpset);
  std::vector<TensorSpec> specs(outputs.begin(), outputs.end());
  for (size_t i = 0; i < specs.size(); ++i) {
    specs[i].graph_name = absl::StrCat("answers/", i);
    // What shape it really has is ONNX Runtime's to see.
    for (Dim& dim : specs[i].dims) dim.symbol.clear();
  }
  for (const Wanted& want : wanted) {
    ASSIGN_OR_RETURN(const RowValue value, CompileRowValue(want.expression->Part(want.root), specs, ops));
    // An output of its own, though it may be an answer as it stands.
    model.mutable_graph()->add_output()->set_name(ops.Add("Identity", {value.tensor}));
  }
  auto values = std::unique_ptr<RowValues>(new RowValues(texts));
  for (size_t i = 0; i < specs.size(); ++i) {
    const auto takes = [&](const onnx::NodeProto& node) {
      return absl::c_linear_search(node.input(), specs[i].graph_name);
    };
    if (!absl::c_any_of(model.graph().node(), takes)) continue;
    SetValueInfo(specs[i], model.mutable_graph()->add_input());
    values->used_.push_back(i);
  }
  if (ops.used_ml()) {
    onnx::OperatorSetIdProto* ml = model.add_opset_import();
    ml->set_domain("ai.onnx.ml");
    ml->set_version(kMlOpset);
  }
  Session::Options options;
  options.name = "conditions";
  ASSIGN_OR_RETURN(values->session_, Session::Create(model.SerializeAsString(), {}, options));
  return values;
}

DType RowValues::dtype(size_t index) const { return session_->outputs()[index].dtype; }

absl::Status RowValues::Append(absl::Span<const Tensor> answers, int64_t rows,
                               std::vector<std::vector<double>>& columns) {
  std::vector<Tensor> inputs;
  for (const size_t i : used_) inputs.push_back(answers[i]);
  ASSIGN_OR_RETURN(const std::vector<Tensor> values, session_->Run(inputs));
  columns.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i].num_elements() != static_cast<uint64_t>(rows)) {
      return absl::InvalidArgumentError(absl::StrCat("answers: got ", values[i].num_elements(), " values for ", rows,
                                                     " rows, want one each; is the output one value per row?"));
    }
    RETURN_IF_ERROR(AppendColumn(values[i], columns[i]));
  }
  return absl::OkStatus();
}

absl::Status RowValues::AppendColumn(const Tensor& values, std::vector<double>& column) {
  switch (values.dtype()) {
    case DType::kFloat:
      AppendNumbers<float>(values, column);
      return absl::OkStatus();
    case DType::kDouble:
      AppendNumbers<double>(values, column);
      return absl::OkStatus();
    case DType::kInt64:
      AppendNumbers<int64_t>(values, column);
      return absl::OkStatus();
    case DType::kBool:
      AppendNumbers<bool>(values, column);
      return absl::OkStatus();
    case DType::kString:
      for (uint64_t i = 0; i < values.num_elements(); ++i) {
        const auto number = static_cast<double>(texts_.size());
        column.push_back(texts_.try_emplace(std::string(values.StringAt(i)), number).first->second);
      }
      return absl::OkStatus();
    default:
      return absl::InternalError(absl::StrCat("row values: got ", DTypeName(values.dtype())));
  }
}

}  // namespace portico
