#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "cli/answer_shift.h"
#include "cli/recorded_requests.h"
#include "deploy/product_trial.h"

namespace portico {

/// What two versions of a product, 0 and 1 of a trial, answer to recorded requests. For one thread.
class UpgradeComparison {
 public:
  struct Options {
    /// Whose requests count.
    std::string model;
    /// AnswerShift's.
    std::optional<Tolerance> tolerance;
    /// Share of the rows of an output that may have changed.
    double max_changed = 0;
    /// Requests that are compared at most; 0: all.
    uint64_t limit = 0;
  };

  explicit UpgradeComparison(Options options) : options_(std::move(options)), shift_(options_.tolerance) {}

  /// With a line of progress at a terminal. INVALID_ARGUMENT, with what there was instead, where no request could be
  /// compared.
  absl::Status Run(RecordedRequests requests, ProductTrial& trial);
  /// FAILED_PRECONDITION with why the new version should not be taken.
  absl::Status Judge() const;
  /// For people.
  std::string Text() const;

 private:
  void Compare(const RecordedRequest& request, ProductTrial& trial);
  /// `place`: which one, with what stands between it and why.
  void LeaveOut(absl::string_view place, absl::string_view why);
  uint64_t compared() const { return shift_.requests() + failed_; }

  const Options options_;
  AnswerShift shift_;
  /// Left out: failed when it was recorded, fails with the old version here, or is damaged; why the first was.
  uint64_t left_out_ = 0;
  std::string why_left_out_;
  /// Answered by the old version and not by the new one.
  uint64_t failed_ = 0;
  std::string why_failed_;
  /// Of other models, by name.
  std::map<std::string, uint64_t> others_;
  /// Whose recorded answer was compared with the old version's here, and how many of these agree.
  uint64_t with_answer_ = 0;
  uint64_t as_recorded_ = 0;
};

}  // namespace portico
