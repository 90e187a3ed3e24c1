#pragma once

namespace portico {

/// Prints where and what, then aborts. For broken invariants only; expected failures are `absl::Status` values.
[[noreturn]] void CheckFailed(const char* file, int line, const char* what);

}  // namespace portico

#define PORTICO_CHECK(condition)                              \
  do {                                                        \
    if (__builtin_expect(!(condition), 0)) {                  \
      ::portico::CheckFailed(__FILE__, __LINE__, #condition); \
    }                                                         \
  } while (false)
