#include "examples/model_calls.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/tfs_client.h"

namespace portico::examples {
namespace {

constexpr uint64_t kMaxModelBytes = 1 << 30;
constexpr double kMaxDifference = 1e-5;

std::string NamesOf(const Rows& rows) {
  return absl::StrJoin(rows, ", ", [](std::string* out, const NamedTensor& one) { out->append(one.name); });
}

const NamedTensor* Find(const Rows& rows, const std::string& name) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const NamedTensor& one) { return one.name == name; });
  return found == rows.end() ? nullptr : &*found;
}

}  // namespace

absl::StatusOr<Tensor> FindTensor(const Rows& rows, const std::string& name, DType dtype) {
  const NamedTensor* found = Find(rows, name);
  if (found == nullptr) {
    return absl::InternalError(absl::StrCat("tensor '", name, "': got ", NamesOf(rows), ", want it among them"));
  }
  if (found->tensor.dtype() != dtype) {
    return absl::InternalError(
        absl::StrCat("tensor '", name, "': got ", DTypeName(found->tensor.dtype()), ", want ", DTypeName(dtype)));
  }
  return found->tensor.Aligned();
}

Rows TakeRows(const Rows& rows, absl::Span<const int64_t> indices) {
  Rows taken;
  for (const NamedTensor& one : rows) {
    std::vector<Tensor> parts;
    for (const int64_t index : indices) parts.push_back(one.tensor.Slice(index, 1));
    taken.push_back({one.name, parts.empty() ? one.tensor.Slice(0, 0) : ConcatRows(parts)});
  }
  return taken;
}

absl::StatusOr<LocalModel> LocalModel::Load(const std::string& folder) {
  const std::string path = folder + "/1/model.onnx";
  ASSIGN_OR_RETURN(const std::string model, ReadFile(path, kMaxModelBytes));
  ASSIGN_OR_RETURN(std::unique_ptr<Session> session, Session::Create(model, {}, {.name = path}));
  return LocalModel(std::move(session));
}

absl::StatusOr<Rows> LocalModel::Run(const Rows& inputs) const {
  std::vector<Tensor> ordered;
  for (const TensorSpec& spec : session_->inputs()) {
    ASSIGN_OR_RETURN(Tensor input, FindTensor(inputs, spec.name, spec.dtype));
    ordered.push_back(std::move(input));
  }
  ASSIGN_OR_RETURN(std::vector<Tensor> tensors, session_->Run(ordered));
  Rows outputs;
  for (size_t i = 0; i < tensors.size(); ++i) outputs.push_back({session_->outputs()[i].name, std::move(tensors[i])});
  return outputs;
}

absl::StatusOr<Rows> AskInPieces(const Rows& inputs, int64_t rows_per_request,
                                 absl::FunctionRef<absl::StatusOr<Rows>(const Rows&)> ask) {
  const int64_t rows = inputs[0].tensor.rows();
  std::vector<std::vector<Tensor>> parts;
  std::vector<std::string> names;
  for (int64_t begin = 0; begin < rows; begin += rows_per_request) {
    const int64_t count = std::min(rows_per_request, rows - begin);
    Rows piece;
    for (const NamedTensor& one : inputs) piece.push_back({one.name, one.tensor.Slice(begin, count)});
    ASSIGN_OR_RETURN(Rows answer, ask(piece));
    if (names.empty()) {
      for (const NamedTensor& output : answer) names.push_back(output.name);
      parts.resize(names.size());
    }
    for (size_t i = 0; i < names.size(); ++i) {
      const NamedTensor* output = Find(answer, names[i]);
      if (output == nullptr || output->tensor.shape().empty() || output->tensor.rows() != count) {
        return absl::InternalError(absl::StrCat("output '", names[i], "': got ",
                                                output == nullptr ? "none" : ShapeString(output->tensor.shape()),
                                                " for ", count, " rows, want a row each"));
      }
      parts[i].push_back(output->tensor);
    }
  }
  Rows joined;
  for (size_t i = 0; i < names.size(); ++i) joined.push_back({names[i], ConcatRows(parts[i])});
  return joined;
}

absl::StatusOr<Rows> AskMesh(const std::string& address, const std::string& model, const Rows& inputs,
                             int64_t rows_per_request) {
  TfsClient client(address);
  return AskInPieces(inputs, rows_per_request, [&](const Rows& piece) -> absl::StatusOr<Rows> {
    ASSIGN_OR_RETURN(TfsClient::Prediction prediction, client.Predict(model, "", piece, {}));
    return std::move(prediction.outputs);
  });
}

absl::Status CompareNumbers(const std::string& what, absl::Span<const float> got, absl::Span<const float> want) {
  if (got.size() != want.size()) {
    return absl::InternalError(absl::StrCat(what, ": got ", got.size(), " numbers, want ", want.size()));
  }
  for (size_t i = 0; i < want.size(); ++i) {
    // Not "greater": NaN must not pass.
    if (std::abs(double{got[i]} - want[i]) <= kMaxDifference) continue;
    return absl::InternalError(
        absl::StrCat(what, ": number ", i, ": got ", got[i], ", want ", want[i], " within ", kMaxDifference));
  }
  return absl::OkStatus();
}

}  // namespace portico::examples
