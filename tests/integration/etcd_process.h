#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "deploy/process.h"
#include "router/etcd/client.h"
#include "tests/testing/free_port.h"
#include "tests/testing/temp_folder.h"
#include "tests/transport/identity.h"

namespace portico {

/// A real etcd, Debian's, on ports of its own, with its data in a folder of its own (in memory, where /dev/shm is
/// there): of one member, or one of several. Killed at the end of the scope. For one thread.
class EtcdProcess {
 public:
  /// Blocks until it answers. `tls`: it has a certificate, and takes those who show the same one.
  explicit EtcdProcess(bool tls = false);
  ~EtcdProcess();

  /// A cluster. Blocks until it answers.
  static std::vector<std::unique_ptr<EtcdProcess>> StartCluster(int members);

  /// HOST:PORT.
  const std::string& endpoint() const { return endpoint_; }
  /// How to reach it.
  EtcdOptions options() const;
  /// kill -9, and wait for its end.
  void Kill();
  void Signal(int number) { process_->Signal(number); }
  /// At the endpoint it had; blocks until it answers.
  void Start();
  /// What it knows goes. REQUIRES: killed.
  void Forget();

 private:
  explicit EtcdProcess(std::string name);
  void Launch();
  void AwaitAnswer();

  const TempFolder folder_;
  std::optional<Identity> identity_;
  const std::string name_ = "default";
  const HeldPort port_, peer_port_;
  std::string endpoint_;
  std::string peers_;
  /// As all members are told.
  std::string cluster_;
  std::unique_ptr<Process> process_;
};

}  // namespace portico
