#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/tensor_comparison.h"
#include "cli/recorded_requests.h"
#include "cli/tfs_client.h"

namespace portico {

/// What came of requests that were sent again: each answer is compared with the recorded one. For one thread at a time.
class ReplayReport {
 public:
  struct Options {
    Tolerance tolerance;
    /// Records that are shown of those that differ or fail.
    size_t shown = 10;
  };
  struct Counts {
    uint64_t equal = 0;
    uint64_t within = 0;
    uint64_t different = 0;
    uint64_t failed = 0;
    /// Answered, where the log has no answer to compare with.
    uint64_t uncompared = 0;
    uint64_t all() const { return equal + within + different + failed + uncompared; }
  };

  explicit ReplayReport(Options options) : options_(options) {}

  /// `latency` from when the request was due.
  void Add(const RecordedRequest& request, const absl::StatusOr<TfsClient::Prediction>& got, absl::Duration latency);

  const Counts& counts() const { return counts_; }
  /// Counts, latencies, differences per output, and the first records that differ.
  std::string Text() const;

 private:
  /// Durations by their logarithm: percentiles within 3 %, in fixed memory.
  class Latencies {
   public:
    void Add(absl::Duration latency);
    bool empty() const { return count_ == 0; }
    /// `share` of them were at most so long.
    absl::Duration At(double share) const;

   private:
    static constexpr int kPerDoubling = 16;
    std::array<uint64_t, 48 * kPerDoubling> counts_{};
    uint64_t count_ = 0;
  };
  struct OfOutput {
    double max_absolute = 0;
    double max_relative = 0;
    uint64_t different = 0;
  };

  TensorComparison::Outcome CompareOutputs(const std::vector<NamedTensor>& got, const std::vector<NamedTensor>& want,
                                           std::string* first);
  void Show(const RecordedRequest& request, std::string text);

  const Options options_;
  Counts counts_;
  Latencies now_;
  Latencies recorded_;
  std::map<std::string, OfOutput> outputs_;
  /// By index: answers come in any order.
  std::map<uint64_t, std::string> shown_;
};

}  // namespace portico
