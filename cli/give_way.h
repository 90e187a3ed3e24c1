#pragma once

#include "base/thread_schedule.h"

namespace portico {

/// For commands that rewrite files while nodes of the same machine serve: until it is destroyed, the thread that made it
/// gives way to theirs. Its niceness stays, that of a command's one thread.
class GiveWay {
 public:
  GiveWay() { YieldToServing(10); }

 private:
  const YieldOften often_;
};

}  // namespace portico
