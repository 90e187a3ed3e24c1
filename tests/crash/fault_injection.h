#pragma once

#include <functional>

namespace portico {

/// What becomes of the calls of this process that change files (open to create, write, pwrite, fsync, rename, link,
/// mkdir, unlink, rmdir, ftruncate): this binary has them in place of the C library's.
struct FaultPlan {
  enum class Kind { kNone, kDie, kDiskFull };
  Kind kind = Kind::kNone;
  /// The call, from 1 on, at which it happens: the process ends in front of it (kDie), or it and all that need room
  /// behind it fail (kDiskFull).
  long at = 0;
};

/// Exit code of a process that died by plan.
inline constexpr int kDiedByPlan = 86;

/// Runs `work` in a process of its own under `plan`, and gives its exit code: what `work` returns, or kDiedByPlan.
/// `calls`, where given: how many calls there were.
int RunWithFaults(const FaultPlan& plan, const std::function<int()>& work, long* calls = nullptr);

}  // namespace portico
