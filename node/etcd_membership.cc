#include "node/etcd_membership.h"

#include <unistd.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "node/process_name.h"

namespace portico {
namespace {

std::string OwnHost() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

/// Others reach "any address" by the host's name.
std::string Advertised(const std::string& endpoint, const std::string& host) {
  for (const absl::string_view any : {"://0.0.0.0:", "://[::]:"}) {
    const size_t at = endpoint.find(any.data(), 0, any.size());
    if (at == std::string::npos) continue;
    return absl::StrCat(endpoint.substr(0, at), "://", host, ":", endpoint.substr(at + any.size()));
  }
  return endpoint;
}

EtcdRegistration::Holder HolderOf(absl::string_view value) {
  EtcdRegistration::Holder holder;
  const absl::StatusOr<RegisteredNode> node = ParseRegisteredNode(value);
  if (!node.ok()) {
    holder.who = "something that is no node";
    return holder;
  }
  const std::string pid = PidOf(node->process);
  holder.who = absl::StrCat("a node on host '", node->host, "'", pid.empty() ? "" : absl::StrCat(", process ", pid),
                            node->endpoints.empty() ? "" : absl::StrCat(", at ", node->endpoints.front()));
  holder.ttl = absl::Seconds(node->ttl_s);
  const ProcessState state = node->process == OwnProcessName() ? ProcessState::kEnded : StateOfProcess(node->process);
  if (state == ProcessState::kEnded) holder.state = EtcdRegistration::Holder::State::kGone;
  if (state == ProcessState::kRuns) holder.state = EtcdRegistration::Holder::State::kRuns;
  return holder;
}

EtcdRegistration::Options RegistrationOf(const EtcdMembership::Options& options, const std::string& id) {
  EtcdRegistration::Options registration;
  registration.key = absl::StrCat(options.prefix, "/nodes/", id);
  registration.ttl = options.ttl;
  registration.holder = HolderOf;
  return registration;
}

std::string IdOf(const EtcdMembership::Options& options) { return absl::StrCat(options.node, "/", options.replica); }

}  // namespace

EtcdMembership::EtcdMembership(Options options, const std::string& self, std::unique_ptr<EtcdClient> client,
                               const Resolver& inner, MetricRegistry& metrics)
    : options_(std::move(options)),
      client_(std::move(client)),
      registration_(RegistrationOf(options_, IdOf(options_)), *client_, metrics) {
  said_.id = IdOf(options_);
  said_.host = OwnHost();
  said_.zone = options_.zone;
  said_.process = OwnProcessName();
  said_.ttl_s = absl::ToInt64Seconds(options_.ttl);
  EtcdResolver::Options resolver;
  resolver.nodes = options_.prefix + "/nodes/";
  resolver.own = said_.id;
  resolver.self = self;
  resolver.host = said_.host;
  resolver_ = std::make_unique<EtcdResolver>(std::move(resolver), inner, *client_, metrics);
}

absl::StatusOr<std::unique_ptr<EtcdMembership>> EtcdMembership::Create(Options options, const std::string& self,
                                                                       const Resolver& inner, MetricRegistry& metrics) {
  ASSIGN_OR_RETURN(std::unique_ptr<EtcdClient> client, EtcdClient::Create(options.etcd));
  const absl::Duration patience = options.first_list;
  std::unique_ptr<EtcdMembership> membership(
      new EtcdMembership(std::move(options), self, std::move(client), inner, metrics));
  if (!membership->resolver_->WaitForFirst(patience)) {
    LogWarning(absl::StrCat("node '", membership->options_.node, "': etcd has not listed the other nodes within ",
                            absl::FormatDuration(patience), "; starting without"));
  }
  return membership;
}

EtcdMembership::~EtcdMembership() {
  registration_.Stop();
  client_->Stop();
  resolver_ = nullptr;
}

absl::Status EtcdMembership::Join(const std::string& endpoint) {
  TellOf(endpoint);
  const absl::Status status = registration_.WaitForFirst(options_.first_list);
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat("node '", IdOf(options_), "': ", status.message(),
                                   "; give this one a --node or --replica of its own, or stop that one"));
}

void EtcdMembership::TellOf(const std::string& endpoint) {
  MutexLock lock(&mutex_);
  joined_ = true;
  said_.endpoints.clear();
  if (!options_.advertise.empty()) {
    said_.endpoints.push_back(options_.advertise);
  } else if (!endpoint.empty()) {
    said_.endpoints.push_back(Advertised(endpoint, said_.host));
  }
  Tell();
}

void EtcdMembership::SayServed(const std::vector<PeerState::Served>& served) {
  MutexLock lock(&mutex_);
  said_.models.clear();
  for (const PeerState::Served& one : served) {
    said_.models.push_back({one.name, one.version, one.digest.empty() ? "" : one.digest.Hex()});
  }
  if (joined_) Tell();
}

void EtcdMembership::SayRevisions(const RevisionState& state) {
  MutexLock lock(&mutex_);
  said_.revisions = {state.current, state.prepared, state.oldest, state.refused, state.why};
  if (joined_) Tell();
}

void EtcdMembership::Tell() { registration_.Set(FormatRegisteredNode(said_)); }

void EtcdMembership::Leave() { registration_.Stop(); }

}  // namespace portico
