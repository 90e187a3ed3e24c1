#pragma once

#include <cstdint>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "base/executor.h"
#include "base/request_context.h"

namespace portico {

/// Where the answers of a request's calls are added up. Few numbers on the thread that brought the last answer: the
/// hand-off to another one takes longer. That is a transport's thread mostly, which reads for all requests, so many
/// numbers, from some 50 µs on, are added up by a worker.
inline constexpr uint64_t kNumbersInPlace = uint64_t{1} << 17;
/// What looking a row up, or keeping it, counts for.
inline constexpr uint64_t kNumbersARow = 64;

/// Runs `work` exactly once, here and now or on a worker: with CANCELLED, whereupon it has only to say so, where the
/// request was cancelled before a worker came to it, or the workers have stopped. `workers`: null: here. `numbers`:
/// floats that are read, and kNumbersARow for each row that is looked up or kept.
void AddUp(Executor* workers, uint64_t numbers, Ref<const RequestContext> context,
           absl::AnyInvocable<void(const absl::Status&)> work);

}  // namespace portico
