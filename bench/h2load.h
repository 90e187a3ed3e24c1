#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace portico::bench {

/// A server in a child process of its own. The destructor ends it. Make it before this process uses gRPC, whose threads
/// would not survive the fork.
class ChildServer {
 public:
  /// To be called with the server's HOST:PORT once it serves; returns when the server is to end.
  using Ready = std::function<void(const std::string& address)>;
  /// `serve` starts a server and calls what it is given, in the child.
  explicit ChildServer(const std::function<void(const Ready&)>& serve);
  ~ChildServer();
  ChildServer(const ChildServer&) = delete;
  ChildServer& operator=(const ChildServer&) = delete;

  const std::string& address() const { return address_; }
  /// What it has used since its start, all threads, in seconds.
  double CpuSeconds() const;

 private:
  pid_t pid_ = 0;
  int end_ = -1;
  std::string address_;
};

/// A load that h2load puts on a server for a second.
struct H2load {
  int connections = 1;
  /// Calls open at any time, over all connections.
  int in_flight = 1;

  /// Whether the program is there; says on stdout what to do where it is not.
  static bool Found(const char* scenario);
  /// `message` as the body of a gRPC call: not compressed, its length, itself.
  static std::string GrpcBody(const std::string& message);
  /// POSTs the file `body` to `path`; calls per second. h2load counts any HTTP 200 as a success, and a gRPC error is
  /// one: look at one answer before.
  double GrpcCallsPerSecond(const std::string& address, const std::string& path, const std::string& body) const;
  /// The same over HTTP/1.1: one request in flight per connection.
  double RestCallsPerSecond(const std::string& address, const std::string& path, const std::string& body,
                            const std::vector<std::pair<std::string, std::string>>& headers) const;

 private:
  double CallsPerSecond(const std::string& options, const std::string& address, const std::string& path,
                        const std::string& body) const;
};

}  // namespace portico::bench
