#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "router/etcd/client.h"

namespace CLI {
class App;
}

namespace portico {

/// The flags by which a command reaches an etcd cluster.
class EtcdFlags {
 public:
  /// `group`: in its help; empty: none of its own.
  void AddTo(CLI::App& command, const std::string& group);
  bool given() const { return !endpoints_.empty(); }
  /// INVALID_ARGUMENT, or what reading a file gives: "--etcd-ca: …".
  absl::StatusOr<EtcdOptions> Options() const;
  /// Of a mesh's keys, without a slash at its end.
  absl::StatusOr<std::string> Prefix() const;

 private:
  std::vector<std::string> endpoints_;
  std::string prefix_ = "/portico/default";
  std::string ca_, cert_, key_, user_, password_file_;
};

}  // namespace portico
