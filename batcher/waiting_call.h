#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "base/request_context.h"
#include "base/tensor.h"
#include "batcher/batcher.h"
#include "batcher/deadline_index.h"
#include "batcher/products.h"

namespace portico {

/// A call between Submit() and its completion.
struct WaitingCall {
  Ref<const RequestContext> context;
  /// Whose it is; the batcher's.
  const Product* product = nullptr;
  std::vector<Tensor> inputs;
  Batcher::Done done;
  /// Rows that it adds to a joined run; 1 where it can't be joined.
  int64_t rows = 1;
  bool joinable = false;
  /// Where its deadline stands while it waits.
  DeadlineIndex::Place deadline_place = DeadlineIndex::kNone;
  /// JoinHash where joinable.
  uint64_t hash = 0;
  absl::Time since;
  /// Names the call within its batcher.
  uint64_t ticket = 0;
  /// Of a piece of a larger call that may be traced: the span of the whole.
  uint64_t span_id = 0;

  /// What it counts against limits: a call without rows is not free.
  int64_t weight() const { return rows > 0 ? rows : 1; }
  /// The lane it waits in.
  uint64_t lane() const;
};

}  // namespace portico
