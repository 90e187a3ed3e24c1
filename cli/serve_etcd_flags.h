#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "cli/etcd_flags.h"
#include "cli/serve_flags.h"
#include "router/etcd_revision_copy.h"

namespace portico {

/// Where the node finds others and registers itself, and where its mesh's revisions may come from: etcd.
class ServeEtcdFlags final : public ServeFlags {
 public:
  void AddTo(CLI::App& command) override;
  absl::Status Apply(Node::Options* options) const override;
  /// Of `--revision-folder`; empty: a temporary one.
  const std::string& revision_folder() const { return revision_folder_; }

 private:
  EtcdFlags flags_;
  int ttl_s_ = 5;
  std::string advertise_;
  std::string revision_folder_;
};

/// What `--revision etcd` means: a mesh's revisions, copied from etcd for as long as this lives.
class ServeEtcdRevisions {
 public:
  /// Blocks until there is a current one, for 30 s at most; CANCELLED soon after `given_up`, which is asked again and
  /// again, says true.
  static absl::StatusOr<std::unique_ptr<ServeEtcdRevisions>> Open(const ServeEtcdFlags& flags,
                                                                  const std::function<bool()>& given_up);
  ~ServeEtcdRevisions();

  /// Path of the pointer to the current one.
  std::string current() const { return copy_->current(); }

 private:
  ServeEtcdRevisions() = default;

  std::unique_ptr<EtcdClient> client_;
  std::string folder_;
  bool temporary_ = false;
  std::unique_ptr<EtcdRevisionCopy> copy_;
};

}  // namespace portico
