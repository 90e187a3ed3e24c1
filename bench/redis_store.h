#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"

struct redisContext;

namespace portico {
class Process;
}

namespace portico::bench {

/// Rows in Debian's Redis server, a process of its own without persistence, reached over a Unix socket or loopback TCP:
/// what lookups over the wire are measured beside. Keys are ids in 8 bytes, values the rows' bytes. For one thread.
class RedisStore {
 public:
  /// As its users ask it: so many keys to an MGET.
  static constexpr size_t kKeys = 1000;

  /// Null where this was built without hiredis, or without the server. `folder`: of its socket.
  static std::unique_ptr<RedisStore> Start(const std::string& folder);
  ~RedisStore();
  RedisStore(const RedisStore&) = delete;
  RedisStore& operator=(const RedisStore&) = delete;

  pid_t pid() const;
  /// `rows`: one for each of `ids`, of the same size each.
  void Put(absl::Span<const int64_t> ids, absl::Span<const float> rows);

  struct Load {
    bool tcp = false;
    /// Each on a thread and a connection of its own.
    int clients = 1;
    /// MGETs of a client that are under way at any time (pipelining).
    int depth = 8;
    /// Rows that the client adds up to one; 1: none, it copies them out.
    size_t pooling = 1;
    size_t dim = 0;
    double seconds = 0.4;
  };
  /// Keys a second, MGET after MGET over `ids`, in turn.
  double Measure(const Load& load, const std::vector<int64_t>& ids) const;

 private:
  RedisStore() = default;
  redisContext* Connect(bool tcp) const;

  std::string socket_;
  int port_ = 0;
  std::unique_ptr<Process> server_;
  redisContext* context_ = nullptr;
};

}  // namespace portico::bench
