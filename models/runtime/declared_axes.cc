#include "models/runtime/declared_axes.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

/// -1: not there.
int IndexOf(const std::vector<TensorSpec>& specs, const std::string& name) {
  const auto found = std::find_if(specs.begin(), specs.end(), [&](const TensorSpec& s) { return s.name == name; });
  return found == specs.end() ? -1 : static_cast<int>(found - specs.begin());
}

bool Holds(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Whether dim 0 of a tensor counts rows: it is among those `declared` so, or has their symbol.
bool CountsRows(const TensorSpec& spec, const std::vector<std::string>& declared, const std::string& symbol) {
  if (Holds(declared, spec.name)) return true;
  return !symbol.empty() && !spec.dims.empty() && spec.dims[0].symbol == symbol;
}

/// Why a segment with ragged inputs cannot take `input`, which neither counts rows nor is ragged there; or empty.
std::string RaggedTrouble(const TensorSpec& input, const DeclaredRows& declared) {
  for (const DeclaredRows::Ragged& ragged : declared.ragged) {
    if (input.name != ragged.values && input.name != ragged.partition) continue;
    return absl::StrCat("input '", input.name, "' comes without '",
                        input.name == ragged.values ? ragged.partition : ragged.values, "'");
  }
  const bool varies = !input.has_rank || (!input.dims.empty() && input.dims[0].extent < 0);
  // It may be made of ragged values.
  if (varies && !Holds(declared.inputs, input.name)) {
    return absl::StrCat("input '", input.name, "' is ", input.ToString(), ", and may be ragged");
  }
  return "";
}

}  // namespace

DeclaredRows DeclaredRows::Of(const Signature& signature) {
  DeclaredRows rows;
  const auto take_symbol = [&rows](const TensorSpec& spec) {
    if (rows.symbol.empty() && !spec.dims.empty()) rows.symbol = spec.dims[0].symbol;
  };
  for (const TensorSpec& input : signature.inputs) {
    rows.inputs.push_back(input.graph_name);
    if (input.axis != AxisKind::kRows) continue;
    rows.row_inputs.push_back(input.graph_name);
    take_symbol(input);
  }
  for (const TensorSpec& input : signature.inputs) {
    if (input.partition == RowPartition::kNone) continue;
    const TensorSpec& partition = signature.inputs[static_cast<size_t>(signature.InputIndex(input.partition_input))];
    rows.ragged.push_back({input.graph_name, partition.graph_name, input.partition});
    const bool counts = input.partition == RowPartition::kRowStarts || input.partition == RowPartition::kRowLengths;
    if (counts) take_symbol(partition);
  }
  if (!rows.any()) return rows;
  for (const TensorSpec& output : signature.outputs) {
    if (output.axis != AxisKind::kRows) continue;
    rows.row_outputs.push_back(output.graph_name);
    take_symbol(output);
  }
  return rows;
}

RowAxes SegmentRowAxes(Session& session, const DeclaredRows& declared) {
  return declared.any() ? DeclaredRowAxes(session.inputs(), session.outputs(), declared) : InferRowAxes(session);
}

RowAxes DeclaredRowAxes(const std::vector<TensorSpec>& inputs, const std::vector<TensorSpec>& outputs,
                        const DeclaredRows& declared) {
  RowAxes axes;
  axes.inputs.assign(inputs.size(), AxisKind::kShared);
  for (const DeclaredRows::Ragged& ragged : declared.ragged) {
    const int values = IndexOf(inputs, ragged.values), partition = IndexOf(inputs, ragged.partition);
    if (values < 0 || partition < 0) continue;
    axes.ragged.push_back({static_cast<size_t>(values), static_cast<size_t>(partition), ragged.kind});
    axes.inputs[static_cast<size_t>(values)] = axes.inputs[static_cast<size_t>(partition)] = AxisKind::kRagged;
  }
  bool any = !axes.ragged.empty();
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (axes.inputs[i] == AxisKind::kRagged) continue;
    if (CountsRows(inputs[i], declared.row_inputs, declared.symbol)) {
      axes.inputs[i] = AxisKind::kRows;
      any = true;
    } else if (!declared.ragged.empty() && axes.reason.empty()) {
      axes.reason = RaggedTrouble(inputs[i], declared);
    }
  }
  const std::string symbol = declared.symbol.empty() ? "" : absl::StrCat(", nor has dim 0 '", declared.symbol, "'");
  for (const TensorSpec& output : outputs) {
    if (CountsRows(output, declared.row_outputs, declared.symbol)) continue;
    axes.reason = absl::StrCat("output '", output.name, "' is not declared as rows", symbol);
  }
  if (!any) axes.reason = absl::StrCat("no input is declared as rows", symbol);
  axes.joinable = axes.reason.empty();
  if (!axes.joinable) axes.ragged.clear();
  axes.outputs.assign(outputs.size(), axes.joinable ? AxisKind::kRows : AxisKind::kShared);
  return axes;
}

}  // namespace portico
