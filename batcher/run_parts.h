#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/time/time.h"
#include "batcher/products.h"
#include "batcher/waiting_call.h"

namespace portico {

/// What one product has of a run.
struct RunPart {
  const Product* product = nullptr;
  int64_t calls = 0;
  int64_t rows = 0;
  /// Sum of the times that its calls waited.
  absl::Duration queued;
};
using RunParts = absl::InlinedVector<RunPart, 8>;

/// `calls` of a run that began at `start`, by product, in the order of their first calls.
RunParts PartsOf(const std::vector<WaitingCall>& calls, absl::Time start);

/// "digit 12 rows, parity 4 rows", those with the most rows first; of more than eight, how many there are besides.
std::string Describe(RunParts parts);

}  // namespace portico
