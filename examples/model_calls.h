#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "models/runtime/session.h"

namespace portico::examples {

/// Tensors by name, all with one row per item.
using Rows = std::vector<NamedTensor>;

/// The one of that name. INTERNAL with what there is when there is none, or of another dtype.
absl::StatusOr<Tensor> FindTensor(const Rows& rows, const std::string& name, DType dtype);
/// The rows of these numbers, in that order. Not for hot paths: one tensor a row.
Rows TakeRows(const Rows& rows, absl::Span<const int64_t> indices);

/// One ONNX model, run in this process and by nobody else: what the mesh is compared with. Thread-safe.
class LocalModel {
 public:
  /// FOLDER/1/model.onnx.
  static absl::StatusOr<LocalModel> Load(const std::string& folder);
  /// Inputs that the model does not have are left out. Blocks.
  absl::StatusOr<Rows> Run(const Rows& inputs) const;

 private:
  explicit LocalModel(std::unique_ptr<Session> session) : session_(std::move(session)) {}
  std::unique_ptr<Session> session_;
};

/// `ask` for a few rows at a time, answers joined. INTERNAL when an answer has another number of rows.
absl::StatusOr<Rows> AskInPieces(const Rows& inputs, int64_t rows_per_request,
                                 absl::FunctionRef<absl::StatusOr<Rows>(const Rows&)> ask);

/// The same of a model that the node at `address` (gRPC) serves.
absl::StatusOr<Rows> AskMesh(const std::string& address, const std::string& model, const Rows& inputs,
                             int64_t rows_per_request);

/// OK when no number differs by more than 1e-5; `what` is for the message.
absl::Status CompareNumbers(const std::string& what, absl::Span<const float> got, absl::Span<const float> want);

}  // namespace portico::examples
