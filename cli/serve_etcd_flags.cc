#include "cli/serve_etcd_flags.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "CLI/CLI.hpp"
#include "base/file.h"
#include "base/metric.h"
#include "base/status_macros.h"
#include "router/revision_pointers.h"

namespace portico {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);
/// Where the folder has what it had last.
constexpr absl::Duration kShortPatience = absl::Seconds(3);

}  // namespace

void ServeEtcdFlags::AddTo(CLI::App& command) {
  constexpr char kGroup[] = "Discovery (docs/discovery.md)";
  flags_.AddTo(command, kGroup);
  command
      .add_option("--etcd-ttl", ttl_s_, "Seconds after which others give up a node that gives no sign of life to etcd")
      ->check(CLI::Range(2, 600))
      ->capture_default_str()
      ->group(kGroup);
  command.add_option("--advertise", advertise_, "How others reach --peer, where that is not as it is bound")
      ->type_name("ENDPOINT")
      ->group(kGroup);
  command
      .add_option("--revision-folder", revision_folder_,
                  "With --revision etcd: where revisions are kept, so that the node starts without etcd, too")
      ->type_name("DIR")
      ->group(kGroup);
}

absl::Status ServeEtcdFlags::Apply(Node::Options* options) const {
  EtcdMembership::Options& etcd = options->etcd;
  if (!flags_.given()) {
    if (advertise_.empty() && revision_folder_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError("--advertise, --revision-folder: got no --etcd, want HOST:PORT of its members");
  }
  ASSIGN_OR_RETURN(etcd.etcd, flags_.Options());
  ASSIGN_OR_RETURN(etcd.prefix, flags_.Prefix());
  etcd.advertise = advertise_;
  etcd.ttl = absl::Seconds(ttl_s_);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ServeEtcdRevisions>> ServeEtcdRevisions::Open(const ServeEtcdFlags& flags,
                                                                             const std::function<bool()>& given_up) {
  Node::Options options;
  RETURN_IF_ERROR(flags.Apply(&options));
  if (options.etcd.etcd.endpoints.empty()) {
    return absl::InvalidArgumentError("--revision etcd: got no --etcd, want HOST:PORT of its members");
  }
  std::unique_ptr<ServeEtcdRevisions> revisions(new ServeEtcdRevisions);
  ASSIGN_OR_RETURN(revisions->client_, EtcdClient::Create(options.etcd.etcd));
  revisions->folder_ = flags.revision_folder();
  if (revisions->folder_.empty()) {
    ASSIGN_OR_RETURN(revisions->folder_, MakeTemporaryFolder("portico-revisions-"));
    revisions->temporary_ = true;
  } else {
    std::error_code error;
    std::filesystem::create_directories(revisions->folder_, error);
    if (error) return ErrnoStatus(error.value(), "make folder", revisions->folder_);
  }
  EtcdRevisionCopy::Options copy;
  copy.folder = revisions->folder_;
  copy.prefix = options.etcd.prefix;
  revisions->copy_ = std::make_unique<EtcdRevisionCopy>(std::move(copy), *revisions->client_, MetricRegistry::Null());
  const bool has_one = ReadRevisionPointers(revisions->current()).ok();
  RETURN_IF_ERROR(revisions->copy_->WaitForCurrent(has_one ? kShortPatience : kPatience, given_up));
  return revisions;
}

ServeEtcdRevisions::~ServeEtcdRevisions() {
  if (client_ != nullptr) client_->Stop();
  copy_ = nullptr;
  std::error_code ignored;
  if (temporary_) std::filesystem::remove_all(folder_, ignored);
}

}  // namespace portico
