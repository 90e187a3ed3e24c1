#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/request_context.h"
#include "codec/v2_value.h"

namespace portico {

/// What the parameters of an infer request say. Names that are not known are ignored, as other servers ignore them.
struct V2RequestParameters {
  /// `signature`: which of the model's; empty: serving_default.
  std::string signature;
  /// `priority`: 0 is the tenant's own, 1 the same, and each above that one step lower; nobody raises himself.
  uint64_t priority = 0;
  /// `timeout`, in microseconds on the wire; 0 and absent: none.
  absl::Duration timeout = absl::InfiniteDuration();
  /// `binary_data_output`: outputs come as binary data unless they say otherwise (REST).
  bool binary_data_output = false;
  /// `portico_key`: what the `x-portico-key` header says, for clients that send many requests in one stream.
  std::string key;

  /// INVALID_ARGUMENT for a value of the wrong type; UNIMPLEMENTED for sequence_* and what else is not served here.
  absl::Status Set(absl::string_view name, const V2Value& value);
  /// Deadline, priority and key of the request. `context` was started already. INVALID_ARGUMENT for a key that is too
  /// long.
  absl::Status ApplyTo(const Clock& clock, RequestContext* context) const;
};

/// What the parameters of an input or a requested output say.
struct V2TensorParameters {
  /// Of an input of a REST request with binary data: its bytes behind the JSON.
  std::optional<uint64_t> binary_data_size;
  /// Of a requested output of such a request.
  std::optional<bool> binary_data;

  /// INVALID_ARGUMENT for a value of the wrong type; UNIMPLEMENTED for shared memory and classification.
  absl::Status Set(absl::string_view name, const V2Value& value);
};

/// UNIMPLEMENTED for parameters of a load that replace what the node was told to serve.
absl::Status CheckV2LoadParameter(absl::string_view name);

}  // namespace portico
