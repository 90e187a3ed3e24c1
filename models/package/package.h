#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/digest.h"
#include "base/execution_provider.h"
#include "models/package/model.h"
#include "models/package/signature.h"

namespace portico {

/// The most that `result_cache_mib` may say.
inline constexpr int64_t kMaxResultCacheMib = 16 << 20;

/// How a servable's segments are batched; `servable.yaml: batching:`.
struct BatchingOptions {
  /// Rows a joined run may hold. 1: never join.
  int64_t max_batch_size = 64;
  /// How long an underfull batch may wait for more rows. 0: it starts as soon as a worker is free.
  int64_t max_delay_us = 0;
  /// Rows that may wait in front of a segment; more are refused with RESOURCE_EXHAUSTED.
  int64_t max_queue_rows = 16384;
  /// Runs of one segment at the same time. 0: as many as workers.
  int max_running = 0;
  /// Rows a run is padded to: the least of these that holds it, rising; the last one is the upper limit of a joined
  /// run. Padding rows repeat the first row and are cut off the outputs. Empty: no padding.
  std::vector<int64_t> allowed_batch_sizes;
  /// Calls whose `rows` inputs differ in inner extents join: the shorter ones are padded at the end with the input's
  /// first element, as TensorFlow Serving does. Outputs keep the joined extents.
  bool pad_variable_length_inputs = false;
  /// A call with more rows than a joined run may hold is run in pieces. False: it runs alone, whole.
  bool enable_large_batch_splitting = false;
  /// Product (the model that was asked for where the request entered) → what its rows get of the runs where more wait
  /// than one holds, relative to the others', from 1 to kMaxShare. Products that are not named have 1.
  std::map<std::string, int64_t> shares;
  static constexpr int64_t kMaxShare = 1000;
  static constexpr size_t kMaxShares = 64;
  /// Learns beyond how many rows a run no longer gets cheaper by the row, and joins no more than that.
  bool adaptive = false;
};

/// A servable version as it lies on disk: BASE/<int64>/model.onnx and, optionally, servable.yaml beside it.
///
/// servable.yaml, every key optional, unknown keys refused with file and line:
///   signatures:
///     serving_default:
///       inputs:  {image: {tensor: input_0, axis: rows}}   # callers' name → tensor of the graph (default: same)
///       outputs: {probabilities: {tensor: y}}
///       # ragged: ids: {axis: ragged, row_splits: offsets}; or row_starts, row_lengths, segment_ids (row_partition.h)
///   batching: {max_batch_size: 64, max_delay_us: 0, max_queue_rows: 16384, max_running: 0, allowed_batch_sizes: [8,
///   64],
///              pad_variable_length_inputs: false, enable_large_batch_splitting: false, adaptive: false,
///              shares: {digit: 2, parity: 1}}
///   intra_op_threads: 1
///   max_workers: 0
///   result_cache_mib: 0
struct Package {
  std::string name;
  int64_t version = 0;
  std::string folder;
  Model model;
  /// At least one; `serving_default` first where there is one.
  std::vector<Signature> signatures;
  BatchingOptions batching;
  int intra_op_threads = 1;
  /// Workers that may run segments of this servable at the same time. 0: all.
  int max_workers = 0;
  /// MiB of answers that it keeps by row (result_cache/). 0: none.
  int64_t result_cache_mib = 0;
  /// What its segments run by: for whoever loads it to say. Empty: cpu.
  std::vector<ExecutionProvider> providers;
  /// ModelDigest; where servable.yaml leaves outputs of the graph out, that counts too.
  Digest digest;
  /// Signatures whose axis kinds servable.yaml declares (no inference needed).
  bool axes_declared = false;

  const Signature* FindSignature(absl::string_view signature) const;
};

/// Reads version folder `folder` (".../<version>"). Errors name the file, what is wrong and the remedy.
absl::StatusOr<Package> LoadPackage(const std::string& name, const std::string& folder, WeightStore& store);

/// The version folders of `base`, rising. Names that are not numbers are ignored; leading zeros are fine, but two
/// folders of one version are INVALID_ARGUMENT. NOT_FOUND when `base` is missing.
struct VersionFolder {
  int64_t version;
  std::string folder;
};
absl::StatusOr<std::vector<VersionFolder>> ListVersions(const std::string& base);

}  // namespace portico
