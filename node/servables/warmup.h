#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/metric.h"
#include "node/servables/servable.h"

namespace portico {

struct WarmupOptions {
  /// Recorded requests that are replayed at most. 0: none.
  int64_t max_requests = 1000;
  /// A request that fails is a failure to load. False: it is logged and counted.
  bool must_succeed = false;
  /// Of one request.
  absl::Duration timeout = absl::Seconds(10);
};

/// Replays the requests that were recorded beside a version, FOLDER/warmup/requests or, as TensorFlow Serving has it,
/// FOLDER/assets.extra/tf_serving_warmup_requests: a TFRecord file of tensorflow.serving.PredictionLog. Predict
/// requests are replayed, other kinds and those that failed when they were recorded skipped. Their model and version do
/// not count: the servable answers.
///
/// Blocks, on a thread that may load, until all have been answered, `stopped` says so, or ten have failed. OK where
/// there is no such file.
absl::Status WarmUp(const std::shared_ptr<const Servable>& servable, const std::string& folder,
                    const WarmupOptions& options, const Clock& clock, MetricRegistry& metrics,
                    const std::function<bool()>& stopped);

}  // namespace portico
