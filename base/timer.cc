#include "base/timer.h"

#include "base/event_thread.h"

namespace portico {

Timer& Timer::Real() {
  static EventThread& timer = *new EventThread("timer", Clock::Real());
  return timer;
}

}  // namespace portico
