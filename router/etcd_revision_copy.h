#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/metric.h"
#include "base/mutex.h"
#include "router/etcd/client.h"
#include "router/etcd/mirror.h"

namespace portico {

/// Keys of a mesh's revisions in etcd, below PREFIX: what the run folder of `portico up` has as files.
///
///   mesh/revisions/N        documents, never changed
///   mesh/current, mesh/next, mesh/oldest   the pointers (revision_pointers.h): a number each
///   mesh/refused/N          why N could not be prepared
///   mesh/lock               who may write the others, under a lease
struct EtcdRevisionKeys {
  explicit EtcdRevisionKeys(const std::string& prefix) : mesh(prefix + "/mesh/") {}
  std::string Document(uint64_t number) const { return mesh + "revisions/" + std::to_string(number); }
  std::string Refused(uint64_t number) const { return mesh + "refused/" + std::to_string(number); }
  std::string Pointer(const std::string& name) const { return mesh + name; }
  std::string Lock() const { return mesh + "lock"; }

  const std::string mesh;
};

/// Copies documents and pointers of a mesh's revisions from etcd into a folder of this node, as they change, so that a
/// RevisionFollower finds them there as it does where `portico up` wrote them. The folder is also what the node has
/// where etcd is away when it starts. What is in etcd no more (another, empty etcd) stays in the folder.
class EtcdRevisionCopy {
 public:
  struct Options {
    /// Of the node's own, made where it is missing.
    std::string folder;
    std::string prefix;
  };

  /// `client` and `metrics` are not owned and must outlive it.
  EtcdRevisionCopy(Options options, EtcdClient& client, MetricRegistry& metrics);

  /// Blocks until there is a current revision in the folder, of etcd's if it answers in time; at most so long.
  /// UNAVAILABLE where there is none then. `given_up`: asked many times a second; true: CANCELLED at once.
  absl::Status WaitForCurrent(absl::Duration timeout, const std::function<bool()>& given_up = nullptr);
  /// Path of that pointer.
  std::string current() const { return options_.folder + "/current"; }

 private:
  void Update(const EtcdMirror::Entries& entries);
  /// False: there is no current revision.
  absl::StatusOr<bool> Copy(const EtcdMirror::Entries& entries);

  const Options options_;
  // Of the mirror's thread.
  std::map<uint64_t, std::string> written_;
  Mutex mutex_;
  CondVar changed_;
  bool copied_ ABSL_GUARDED_BY(mutex_) = false;
  /// Last: it calls Update() while all else is there.
  EtcdMirror mirror_;
};

}  // namespace portico
