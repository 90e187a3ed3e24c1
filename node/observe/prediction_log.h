#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/tensor.h"

namespace portico {

/// One inference as it is put on record: what was asked, what was answered, when.
struct PredictionRecord {
  std::string model;
  /// The one that answered.
  int64_t version = 0;
  std::string signature;
  std::vector<NamedTensor> inputs;
  /// Of an error none.
  std::vector<NamedTensor> outputs;
  absl::Status status;
  absl::Time start;
  absl::Duration latency;
};

/// A serialised tensorflow.serving.PredictionLog: its predict_log has request and response, its log_metadata the model
/// that answered. Time, latency and error, which have no field there, are a field of Portico's own in log_metadata,
/// that other readers skip. The request names no version, so that it may be sent to any. UNIMPLEMENTED for a dtype that
/// TensorFlow does not have.
absl::StatusOr<std::string> EncodePredictionLog(const PredictionRecord& record);

/// A PredictionLog read in place, whoever wrote it: everything is a view of the record.
struct PredictionLogView {
  /// False: a record of another kind (Classify, Regress, a session's run).
  bool has_request = false;
  /// Serialised PredictRequest; ReadPredictRequest() reads it.
  absl::string_view request;
  bool has_response = false;
  /// Serialised PredictResponse.
  absl::string_view response;
  /// Not OK: the request failed, and has no response.
  absl::StatusCode code = absl::StatusCode::kOk;
  absl::string_view message;
  /// InfinitePast where the log does not say.
  absl::Time start = absl::InfinitePast();
  absl::Duration latency;
};

/// INVALID_ARGUMENT for what is no such message.
absl::StatusOr<PredictionLogView> ReadPredictionLog(absl::string_view record);

/// A PredictResponse with its tensors.
struct PredictAnswer {
  int64_t version = 0;
  /// By name.
  std::vector<NamedTensor> outputs;
};

/// Tensors are views of what `origin` keeps alive where possible; what must be converted takes at most `max_bytes`.
/// INVALID_ARGUMENT for what is no such message, and for more than 1024 outputs. Of outputs of one name the last
/// counts.
absl::StatusOr<PredictAnswer> ReadPredictResponse(absl::string_view message, const Ref<TensorOrigin>& origin,
                                                  uint64_t max_bytes);

}  // namespace portico
