#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/cancel_waiters.h"
#include "base/mutex.h"
#include "base/ref.h"
#include "base/request_context.h"
#include "base/row_notes.h"
#include "base/tensor.h"
#include "models/graph/op.h"
#include "remote_op/experts_plan.h"
#include "router/expert_choice.h"
#include "transport/transport.h"

namespace portico {

/// One request at an `Experts` portal, from its gates to the sum of the answers:
///
///   Start → Drive → Send → OnReply → EndIfComplete → Combine
///             ↑                │ an expert has failed: its rows go to their next best
///                              OnTime: from now on k_min answers a row are enough
///
/// Shared by its calls and its timer; one allocation for each call beside what routing takes, none per row. `done` runs
/// once, under no lock, on the thread that adds the answers up, that of the last one that was waited for or a worker
/// (AddUp()): row by row, best gate first, so that the result does not depend on who answered first.
///
/// Threads: that of Start, the transports' in OnReply, the router's timer. They meet under `mutex_`. One of them at a
/// time drives: it alone changes `choice_`, uses `inputs_` and sends. Once the request has ended, whoever ended it has
/// these to itself, and answers that still come are dropped.
class ExpertsCall final : public RefCounted {
 public:
  /// `inputs`: checked with ExpertsPlan::CheckInputs().
  ExpertsCall(Ref<const ExpertsPlan> plan, Ref<const RequestContext> context, std::vector<Tensor> inputs, OpDone done);

  void Start();

 private:
  /// One call of an expert.
  struct Call {
    ExpertChoice::Part part;
    /// Waited for.
    bool out = true;
    /// Takes it back; null where it has been answered or is on its way out.
    Ref<CancelHook> hook;
    std::vector<Tensor> outputs;
  };
  struct Answer {
    std::vector<Tensor> outputs;
    /// What the expert says of single rows, as it counts them.
    std::vector<RowNote> notes;
  };
  /// An expert that has failed, and which rows it was to answer.
  struct Failure {
    int32_t expert;
    absl::Status why;
    std::vector<int64_t> rows;
  };
  /// Where the answer in a slot will be.
  struct Place {
    int32_t call = 0;
    int32_t row = 0;
  };
  struct State {
    std::vector<Call> calls;
    std::vector<Failure> failures;
    /// By slot.
    std::vector<uint8_t> answered;
    std::vector<Place> places;
    /// By row: failed with one of its experts (OnExpertError::kFail). Empty where none is.
    std::vector<uint8_t> lost;
  };
  using Hooks = absl::InlinedVector<Ref<CancelHook>, 8>;

  /// Sends `parts`, then the rows of experts that have failed meanwhile. REQUIRES: this thread set driving_.
  void Drive(std::vector<ExpertChoice::Part> parts);
  /// Enters calls for `parts` into the list; returns the number of the first.
  size_t Enter(const std::vector<ExpertChoice::Part>& parts) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// What else is out at experts that have failed: nobody waits for it. Returns what takes it back.
  Hooks GiveUp(absl::Span<const int32_t> failed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Send(const ExpertChoice::Part& part, size_t call);
  void OnReply(size_t call, absl::StatusOr<PeerMessage> reply);
  /// The answers to the rows of `part`, or what is wrong with them.
  absl::StatusOr<Answer> Take(const ExpertChoice::Part& part, absl::StatusOr<PeerMessage> reply) const;
  void Keep(size_t call, Answer answer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Fail(size_t call, const absl::Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnTime();

  /// Whether nothing but an error can come of the request once an expert has failed.
  bool Hopeless() const;
  void EndWith(absl::Status status);
  /// Ends the request if enough answers are there.
  void EndIfComplete();
  bool Complete() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Whether the row has fewer answers than k_min.
  bool IsShort(int64_t row) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Ends it, as far as others are concerned; returns the calls that nobody waits for any more.
  Hooks End() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// The outputs, row_status included.
  absl::StatusOr<std::vector<Tensor>> Combine(const State& state) const;
  /// Of output `index`: as its answers have it, or as it is declared.
  absl::StatusOr<Shape> ShapeOf(size_t index, const State& state) const;
  /// Says which rows were answered otherwise than they should be; an error where that must not be.
  absl::Status Account(const State& state, absl::Span<const int8_t> statuses) const;
  void Note(const State& state, absl::Span<const int8_t> statuses) const;
  /// Why `row` has no answer.
  absl::Status WhyNone(int64_t row, const State& state) const;

  const Ref<const ExpertsPlan> plan_;
  const Ref<const RequestContext> context_;
  OpDone done_;
  /// Its bytes are what choice_ looks at.
  const Tensor gate_;
  std::vector<Tensor> inputs_;
  ExpertChoice choice_;

  Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_);
  int out_ ABSL_GUARDED_BY(mutex_) = 0;
  /// Experts that have failed and are not replaced yet.
  std::vector<int32_t> failed_ ABSL_GUARDED_BY(mutex_);
  bool driving_ ABSL_GUARDED_BY(mutex_) = true;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  /// k_min answers a row are enough.
  bool impatient_ ABSL_GUARDED_BY(mutex_) = false;
  /// Where Complete() goes on looking.
  int64_t short_row_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace portico
