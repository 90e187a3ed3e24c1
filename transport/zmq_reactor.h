#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/ref.h"
#include "transport/task_inbox.h"
#include "transport/zmq_socket.h"

namespace portico {

class ZmqReactor;

/// One socket in a reactor's care: a channel's, a listener's, or that of ZAP.
///
/// The socket belongs to whoever holds `socket_mutex_`. That is the reactor while it pumps; and while the reactor
/// sleeps, a thread that has something to send: it then writes by itself, which spares the wake of another thread when
/// there is little to do, whereas under load the reactor is awake and sends what has gathered in one pack.
class ZmqEndpoint : public RefCounted {
 public:
  explicit ZmqEndpoint(ZmqReactor& reactor) : reactor_(reactor) {}

  /// Receives, completes and sends until nothing is left to do, or for long enough that others should have a turn; then
  /// pending() is true. On the reactor's thread.
  virtual void Pump(absl::Time now) = 0;

  /// Pump() has work although no descriptor says so.
  bool pending() const { return pending_.load(); }
  /// When Pump() is to be called at the latest, in nanoseconds since the epoch.
  int64_t due_ns() const { return due_ns_.load(); }

 protected:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  /// After something was put where SendQueued() finds it: sends it now if the reactor sleeps; otherwise the reactor
  /// will before it sleeps. Any thread, holding no lock.
  void Kick();
  /// The same, but always by the reactor.
  void Nudge();
  /// Pump() is called no later than `at_ns`. Any thread. Returns true where the reactor has to be told.
  bool MoveDue(int64_t at_ns);
  /// To be called behind every message that was handled: sends what has gathered after every few, so that the peer has
  /// work while the rest of a large pack is handled here. On the reactor's thread, holding no lock.
  void SendEarly();
  /// Hands to the socket what waits for it. True if there was anything.
  virtual bool SendQueued() ABSL_EXCLUSIVE_LOCKS_REQUIRED(socket_mutex_) = 0;

  ZmqReactor& reactor_;
  Mutex socket_mutex_;
  ZmqSocket socket_ ABSL_GUARDED_BY(socket_mutex_);
  std::atomic<bool> pending_{false};
  std::atomic<int64_t> due_ns_{kNever};

 private:
  uint32_t handled_ = 0;
};

/// One thread over epoll that pumps its endpoints. Endpoints are added and removed by tasks on that thread. Outlives
/// them.
class ZmqReactor {
 public:
  explicit ZmqReactor(const Clock& clock);
  /// REQUIRES: every endpoint was removed.
  ~ZmqReactor();

  const Clock& clock() const { return clock_; }
  /// `fds`: readable when the endpoint is to be pumped. On the reactor's thread.
  void Add(Ref<ZmqEndpoint> endpoint, absl::Span<const int> fds);
  /// Before the descriptors are closed. On the reactor's thread, also from inside Pump().
  void Remove(ZmqEndpoint& endpoint, absl::Span<const int> fds);
  /// Runs `task` on the reactor's thread, in the order of the calls. Any thread.
  void Post(TaskInbox::Task task) { inbox_.Post(std::move(task)); }
  /// Whether this is the reactor's thread.
  bool Here() const { return std::this_thread::get_id() == thread_.get_id(); }
  /// Posts and waits; inside the reactor's thread it runs `task` at once. Any thread, holding no lock.
  void RunAndWait(TaskInbox::Task task) {
    if (Here()) return task();
    inbox_.PostAndWait(std::move(task));
  }

  /// True from before the reactor looks a last time for pending endpoints until it is awake again.
  bool asleep() const { return inbox_.asleep(); }
  void Wake() { inbox_.Wake(); }

 private:
  struct Entry {
    Ref<ZmqEndpoint> endpoint;
    bool ready = false;
  };

  void Run();
  int SleepMs() const;
  void Sleep();
  void PumpEndpoints();

  const Clock& clock_;
  const int epoll_;
  TaskInbox inbox_;
  /// Only on the reactor's thread. Removed entries lose their endpoint and go at the end of the round.
  std::vector<Entry> entries_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace portico
