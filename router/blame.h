#pragma once

#include "absl/status/status.h"

namespace portico {

/// What an answer says of the replica that gave it.
enum class Blame {
  /// It works.
  kNone,
  /// Nothing: the request itself was at fault, or its caller took it back.
  kRequest,
  /// It works and cannot take more, or does not hold what was asked for: others should be preferred.
  kBusy,
  /// It was slower than another one that was asked as well, and its call was taken back: at least this slow.
  kOutrun,
  /// It fails: several of these in a row put it aside.
  kFault,
};

/// `status`: of the transport, or what the replica answered.
Blame BlameOf(const absl::Status& status);

/// Whether another replica may be asked after `status`. Inference has no effects, so an answer that was lost may be
/// asked for again; but a deadline that has passed stays so, and what is wrong with a request is wrong everywhere.
bool MayRetry(const absl::Status& status);

}  // namespace portico
