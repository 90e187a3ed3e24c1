#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// The same code, payloads kept, with `context` and a colon before the message. Used once per folder boundary.
/// Returns OK unchanged.
absl::Status WithContext(absl::string_view context, const absl::Status& status);

/// What `status` means to a caller one hop up. UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED and CANCELLED keep
/// their code; whatever else (NOT_FOUND, INVALID_ARGUMENT, ...) was the mesh's own fault, so it becomes INTERNAL. The
/// message keeps everything and names `hop` in front.
absl::Status FromInnerHop(absl::string_view hop, const absl::Status& status);

}  // namespace portico

#define PORTICO_CONCAT_INNER_(a, b) a##b
#define PORTICO_CONCAT_(a, b) PORTICO_CONCAT_INNER_(a, b)

/// Returns from the enclosing function when `expr` (an absl::Status) is not OK.
#define RETURN_IF_ERROR(expr)                                           \
  do {                                                                  \
    if (absl::Status portico_status_ = (expr); !portico_status_.ok()) { \
      return portico_status_;                                           \
    }                                                                   \
  } while (false)

/// `ASSIGN_OR_RETURN(auto x, F());`: assigns F()'s value, or returns its error.
#define ASSIGN_OR_RETURN(lhs, expr) ASSIGN_OR_RETURN_IMPL_(PORTICO_CONCAT_(portico_statusor_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_IMPL_(statusor, lhs, expr) \
  auto statusor = (expr);                           \
  if (!statusor.ok()) {                             \
    return std::move(statusor).status();            \
  }                                                 \
  lhs = std::move(statusor).value()
