#pragma once

#include <cstddef>

#include "base/cancel_waiters.h"
#include "result_cache/row_answer.h"

namespace portico {

/// A call that waits for rows that others compute. Told on the thread of whoever tells, under no lock; what comes after
/// it has ended it ignores.
class ParkedCall : public CancelHook {
 public:
  enum class Outcome {
    /// There is an answer.
    kAnswered,
    /// Who computed it was cancelled, ran out of time or was refused for overload: that says nothing of the row.
    kLeaderLeft,
    /// It failed, or its answer is for its own request alone.
    kFailed,
  };
  /// Of the row that it joined as `index`. `answer` is null but for kAnswered.
  virtual void OnLanded(size_t index, Outcome outcome, const Ref<const RowAnswer>& answer) = 0;
  /// Its deadline has passed.
  virtual void OnDeadline() = 0;
};

}  // namespace portico
