#include "cli/batching_parameters.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "node/servables/proto_text_file.h"
#include "tensorflow_serving/server_files.pb.h"

namespace portico {
namespace {

using tensorflow::serving::BatchingParameters;

constexpr int64_t kMaxRows = int64_t{1} << 20;

absl::Status CheckRange(absl::string_view field, int64_t value, int64_t min, int64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": got ", value, ", want ", min, " to ", max));
}

/// They rise, and the last one is the upper limit of a run.
absl::Status ApplyAllowedSizes(const BatchingParameters& parameters, BatchingOptions* options) {
  int64_t before = 0;
  for (const int64_t size : parameters.allowed_batch_sizes()) {
    if (size <= before) {
      return absl::InvalidArgumentError(
          absl::StrCat("allowed_batch_sizes: got ", size, " behind ", before, ", want sizes that rise, from 1"));
    }
    before = size;
    options->allowed_batch_sizes.push_back(size);
  }
  if (before == 0) return absl::OkStatus();
  RETURN_IF_ERROR(CheckRange("allowed_batch_sizes", before, 1, kMaxRows));
  const bool limited = parameters.has_max_batch_size() || parameters.has_max_execution_batch_size();
  if (limited && before != options->max_batch_size) {
    return absl::InvalidArgumentError(absl::StrCat("allowed_batch_sizes: got ", before, " as the last one, want ",
                                                   options->max_batch_size, " as the largest run"));
  }
  options->max_batch_size = before;
  return absl::OkStatus();
}

absl::StatusOr<BatchingOptions> OptionsOf(const BatchingParameters& parameters) {
  BatchingOptions options;
  if (parameters.has_max_batch_size()) {
    options.max_batch_size = parameters.max_batch_size().value();
    RETURN_IF_ERROR(CheckRange("max_batch_size", options.max_batch_size, 1, kMaxRows));
  }
  options.enable_large_batch_splitting = parameters.enable_large_batch_splitting().value();
  if (parameters.has_max_execution_batch_size()) {
    // There the limit of a run, where max_batch_size is that of a call which is then split.
    const int64_t rows = parameters.max_execution_batch_size().value();
    RETURN_IF_ERROR(CheckRange("max_execution_batch_size", rows, 1, options.max_batch_size));
    if (options.enable_large_batch_splitting) options.max_batch_size = rows;
  }
  RETURN_IF_ERROR(ApplyAllowedSizes(parameters, &options));
  options.pad_variable_length_inputs = parameters.pad_variable_length_inputs();
  if (parameters.has_batch_timeout_micros()) {
    options.max_delay_us = parameters.batch_timeout_micros().value();
    RETURN_IF_ERROR(CheckRange("batch_timeout_micros", options.max_delay_us, 0, 60'000'000));
  }
  if (parameters.has_max_enqueued_batches()) {
    // Batches there, rows here.
    const int64_t batches = parameters.max_enqueued_batches().value();
    RETURN_IF_ERROR(CheckRange("max_enqueued_batches", batches, 1, std::numeric_limits<int32_t>::max()));
    options.max_queue_rows = batches * options.max_batch_size;
  }
  if (parameters.has_num_batch_threads()) {
    const int64_t threads = parameters.num_batch_threads().value();
    RETURN_IF_ERROR(CheckRange("num_batch_threads", threads, 1, std::numeric_limits<int>::max()));
    options.max_running = static_cast<int>(threads);
  }
  if (parameters.has_thread_pool_name()) {
    LogWarning("thread_pool_name: has no effect; the workers of a node are named 'worker'");
  }
  return options;
}

}  // namespace

absl::StatusOr<BatchingOptions> ReadBatchingParameters(const std::string& path) {
  BatchingParameters parameters;
  RETURN_IF_ERROR(ReadProtoTextFile(path, &parameters));
  absl::StatusOr<BatchingOptions> options = OptionsOf(parameters);
  if (!options.ok()) return WithContext(absl::StrCat("file '", path, "'"), options.status());
  return options;
}

}  // namespace portico
