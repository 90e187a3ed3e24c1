#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "deploy/process.h"
#include "tests/integration/chaos_proxy.h"
#include "tests/testing/temp_folder.h"

namespace portico {

/// A front and two replicas of what its portal calls, each a `portico serve` of its own, with default policies, and a
/// ChaosProxy in front of each replica:
///
///     client ─ front (model "head") ─┬ proxy(0) ─ replica 0 (model "leaf")
///                                    └ proxy(1) ─ replica 1
///
/// For one thread.
class ChaosMesh {
 public:
  static constexpr int kReplicas = 2;

  struct Options {
    std::vector<std::string> front_flags;
    /// A shell's words before the front's command, such as "ulimit -f 8;".
    std::string front_prefix;
    /// How replicas are reached; those that have no host are files in folder().
    std::string scheme = "tcp";
    std::array<std::string, kReplicas> hosts = {"127.0.0.1", "127.0.0.1"};
    std::vector<std::string> replica_flags;
    /// A shell's words before a replica's command, such as "ip netns exec far".
    std::array<std::string, kReplicas> replica_prefixes;
    /// Through a ChaosProxy each; `tcp` alone.
    bool proxied = true;
  };

  /// Blocks until all are ready.
  explicit ChaosMesh(Options options);

  /// REQUIRES: proxied.
  ChaosProxy& proxy(int replica) { return *proxies_[static_cast<size_t>(replica)]; }
  Process& replica(int replica) { return *replicas_[static_cast<size_t>(replica)]; }
  Process& front() { return *front_; }
  /// The front's client addresses.
  const std::string& grpc() const { return grpc_; }
  const std::string& http() const { return http_; }
  const TempFolder& folder() const { return folder_; }

  /// kill -9, and wait for its end.
  void Kill(int replica);
  /// At the endpoint it had; blocks until it is ready.
  void Start(int replica);
  /// Blocks until the front's /metrics say that the replica of that proxy is `state`. How long that took; infinite
  /// after a minute.
  absl::Duration WaitForState(int replica, const std::string& state);
  /// Answers of the replica that the front has seen.
  double Answers(int replica);
  /// What a counter of the front says, over series with that label.
  double Count(const std::string& name, const std::string& label, const std::string& value);

 private:
  /// What the front calls.
  const std::string& EndpointOf(int replica) const;

  const Options options_;
  const TempFolder folder_;
  std::array<std::string, kReplicas> peers_;
  std::array<std::unique_ptr<Process>, kReplicas> replicas_;
  std::array<std::unique_ptr<ChaosProxy>, kReplicas> proxies_;
  std::unique_ptr<Process> front_;
  std::string grpc_;
  std::string http_;
};

/// Clients that each send the next request when the last one is answered.
class ChaosLoad {
 public:
  struct Answer {
    absl::Time sent;
    absl::Duration latency;
    /// Empty: as it should be.
    std::string error;
  };
  struct Summary {
    size_t answers = 0;
    size_t failed = 0;
    /// Answers later than `late`, and the time from `since` to when the last of those, or of the failed, came.
    size_t late = 0;
    absl::Duration recovered_after;
    absl::Duration p50, p99, max;
    std::string first_error;

    std::string Text() const;
  };

  /// Begins at once.
  explicit ChaosLoad(const std::string& grpc, int clients = 8);
  ~ChaosLoad() { Stop(); }

  /// Blocks until what is under way now is answered, whatever the answer. How long that took; infinite after a minute.
  absl::Duration WaitForAll() const;
  /// Ends it and waits for the answers under way.
  void Stop();
  /// What is later than this was hurt by a fault, not by a busy machine: three times the longest of answers that came
  /// in [since, until), of a healthy mesh, and no less than 250 ms. REQUIRES: stopped.
  absl::Duration LateAfter(absl::Time since, absl::Time until) const;
  /// Of answers that came in [since, until). REQUIRES: stopped.
  Summary Between(absl::Time since, absl::Time until, absl::Duration late) const;

 private:
  void Send(size_t client);

  const std::string grpc_;
  std::atomic<bool> over_{false};
  std::vector<std::vector<Answer>> answers_;
  /// How many of each client.
  std::vector<std::atomic<size_t>> counts_;
  std::vector<std::thread> threads_;
};

}  // namespace portico
