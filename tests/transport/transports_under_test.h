#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "tests/testing/temp_folder.h"
#include "transport/transport.h"

namespace portico {

/// A transport that has to pass the conformance suite.
struct TransportUnderTest {
  std::string name;
  std::function<std::unique_ptr<Transport>()> make;
  /// Where to listen; a different place at every call.
  std::function<std::string()> endpoint;
  /// An endpoint off loopback; empty where the scheme knows none.
  std::string remote_endpoint;
  /// Threads that a library's own pool may still start under load, whatever the number of calls.
  int pool_threads = 0;

  friend void PrintTo(const TransportUnderTest& transport, std::ostream* out) { *out << transport.name; }
};

inline std::string UniqueName(const std::string& prefix) {
  static std::atomic<int> next{0};
  return absl::StrCat(prefix, getpid(), "-", next.fetch_add(1));
}

/// For a Unix socket, in a folder that goes with the process.
inline std::string NewSocketPath() {
  static const TempFolder folder;
  return folder.File(UniqueName("socket-"));
}

inline std::vector<TransportUnderTest> TransportsUnderTest() {
  const auto zmq = [] { return NewZmqTransport({}, Clock::Real()); };
  const auto stream = [] { return NewStreamTransport({}, Clock::Real()); };
  return {
      {"TcpSpinningLoops",
       [] { return NewStreamTransport({.loops = 3, .spin = absl::Microseconds(20)}, Clock::Real()); },
       [] { return std::string("tcp://127.0.0.1:0"); }, "tcp://0.0.0.0:0"},
      {"Tcp", stream, [] { return std::string("tcp://127.0.0.1:0"); }, "tcp://0.0.0.0:0"},
      {"Unix", stream, [] { return "unix://" + NewSocketPath(); }, ""},
      {"Shm", stream, [] { return "shm://" + NewSocketPath(); }, ""},
      {"ZmqTcp", zmq, [] { return std::string("zmq+tcp://127.0.0.1:0"); }, "zmq+tcp://0.0.0.0:0"},
      {"ZmqIpc", zmq, [] { return "zmq+ipc://" + NewSocketPath(); }, ""},
      {"Grpc", [] { return NewGrpcTransport(Clock::Real()); }, [] { return std::string("grpc://127.0.0.1:0"); },
       "grpc://0.0.0.0:0", 8},
      {"Inproc", [] { return NewInprocTransport(Clock::Real()); }, [] { return "inproc://" + UniqueName(""); }, ""},
  };
}

}  // namespace portico
