#include "router/etcd/client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/client_callback.h>

#include <atomic>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "etcd/rpc.grpc.pb.h"
#include "router/etcd/stream.h"
#include "transport/grpc_parts.h"

namespace portico {
namespace {

namespace pb = etcdserverpb;

/// Of one page of a listing, and of all of it.
constexpr int64_t kPageKeys = 512;
constexpr size_t kMaxKeys = 20'000;
constexpr size_t kMaxBytes = size_t{64} << 20;
constexpr int kMaxMessageBytes = 64 << 20;
constexpr size_t kMaxMembers = 64;

absl::Status CheckEndpoint(const std::string& endpoint) {
  const size_t colon = endpoint.rfind(':');
  int port = 0;
  if (colon != std::string::npos && colon > 0 && absl::SimpleAtoi(endpoint.substr(colon + 1), &port) && port > 0 &&
      port <= 65535 && !absl::StrContains(endpoint, '/')) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("etcd: got endpoint '", endpoint, "', want HOST:PORT"));
}

std::shared_ptr<grpc::Channel> Dial(const std::string& address, const EtcdOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // etcd takes no more than a ping in 5 s.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  if (options.roots.empty()) return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = options.roots;
  ssl.pem_private_key = options.key;
  ssl.pem_cert_chain = options.certificate;
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(ssl), arguments);
}

/// One of the cluster.
struct Member {
  Member(std::string a, const EtcdOptions& options)
      : address(std::move(a)),
        channel(Dial(address, options)),
        kv(pb::KV::NewStub(channel)),
        lease(pb::Lease::NewStub(channel)),
        watch(pb::Watch::NewStub(channel)),
        auth(pb::Auth::NewStub(channel)) {}

  const std::string address;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<pb::KV::Stub> kv;
  const std::unique_ptr<pb::Lease::Stub> lease;
  const std::unique_ptr<pb::Watch::Stub> watch;
  const std::unique_ptr<pb::Auth::Stub> auth;
};

absl::Status StatusOf(const grpc::Status& status, const Member& member) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      absl::StrCat("etcd '", member.address, "': ", status.error_message()));
}

/// Of the member, not of what was asked.
bool MeansAway(const absl::Status& status) { return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status); }

EtcdEntry EntryOf(pb::KeyValue& from) {
  EtcdEntry entry;
  entry.key = std::move(*from.mutable_key());
  entry.value = std::move(*from.mutable_value());
  entry.create_revision = from.create_revision();
  entry.mod_revision = from.mod_revision();
  return entry;
}

}  // namespace

class EtcdClient::Impl {
 public:
  explicit Impl(EtcdOptions options) : options_(std::move(options)) {
    PinGrpcThreads();
    for (const std::string& endpoint : options_.endpoints) {
      members_.push_back(std::make_unique<Member>(endpoint, options_));
    }
  }

  /// `start(member, context, done)` begins one attempt.
  template <class Start>
  absl::Status Call(Start start) {
    absl::Status status;
    bool renewed = false;
    const absl::Time begin = absl::Now();
    for (size_t tried = 0; tried < members_.size() && absl::Now() - begin < 2 * options_.timeout;) {
      const size_t at = current_.load();
      Member& member = *members_[at];
      const absl::StatusOr<std::string> token = Token(member);
      status = token.ok() ? Attempt(member, *token, start) : token.status();
      if (absl::IsUnauthenticated(status) && !std::exchange(renewed, true)) {
        ForgetToken();
        continue;
      }
      if (!MeansAway(status)) return status;
      MoveOnFrom(at);
      ++tried;
    }
    return status;
  }

  /// OK, or why the lease may not live on.
  absl::Status KeepAlive(int64_t lease) {
    pb::LeaseKeepAliveRequest request;
    request.set_id(lease);
    absl::Status status;
    const absl::Time begin = absl::Now();
    for (size_t tried = 0; tried < members_.size() && absl::Now() - begin < 2 * options_.timeout; ++tried) {
      const size_t at = current_.load();
      Member& member = *members_[at];
      ASSIGN_OR_RETURN(const std::string token, Token(member));
      EtcdStream<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse> stream(calls_, request);
      stream.Start(token,
                   [&](auto* context, auto* reactor) { member.lease->async()->LeaseKeepAlive(context, reactor); });
      pb::LeaseKeepAliveResponse response;
      if (stream.Next(&response, options_.timeout)) {
        if (response.ttl() > 0) return absl::OkStatus();
        return absl::NotFoundError(absl::StrCat("etcd '", member.address, "': the lease has run out"));
      }
      status = EndOf(stream.Finish(), member);
      if (absl::IsUnauthenticated(status)) ForgetToken();
      if (!MeansAway(status)) return status;
      MoveOnFrom(at);
    }
    return status;
  }

  std::unique_ptr<EtcdWatch> Watch(const std::string& prefix, int64_t revision);

  void Stop() { calls_.Stop(); }

  /// Empty where nobody has to say who they are.
  absl::StatusOr<std::string> Token(Member& member) {
    if (options_.user.empty()) return std::string();
    {
      MutexLock lock(&mutex_);
      if (!token_.empty()) return token_;
    }
    pb::AuthenticateRequest request;
    request.set_name(options_.user);
    request.set_password(options_.password);
    pb::AuthenticateResponse response;
    RETURN_IF_ERROR(Attempt(member, "", [&](Member& at, auto* context, auto done) {
      at.auth->async()->Authenticate(context, &request, &response, std::move(done));
    }));
    MutexLock lock(&mutex_);
    token_ = response.token();
    return token_;
  }
  void ForgetToken() {
    MutexLock lock(&mutex_);
    token_.clear();
  }
  void MoveOnFrom(size_t member) { current_.compare_exchange_strong(member, (member + 1) % members_.size()); }
  /// Of a stream that was cancelled by us because it said nothing.
  absl::Status EndOf(const grpc::Status& end, const Member& member) const {
    if (calls_.stopped()) return absl::CancelledError(absl::StrCat("etcd '", member.address, "': stopped"));
    if (end.ok() || end.error_code() == grpc::StatusCode::CANCELLED) {
      return absl::UnavailableError(absl::StrCat("etcd '", member.address, "': got no answer in time, or its end"));
    }
    return StatusOf(end, member);
  }

 private:
  template <class Start>
  absl::Status Attempt(Member& member, const std::string& token, Start start) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(options_.timeout));
    if (!token.empty()) context.AddMetadata("token", token);
    Mutex mutex;
    CondVar changed;
    bool is_done = false;
    grpc::Status end;
    calls_.Add(&context);
    start(member, &context, std::function<void(grpc::Status)>([&](grpc::Status status) {
            MutexLock lock(&mutex);
            end = std::move(status);
            is_done = true;
            changed.NotifyAll();
          }));
    {
      MutexLock lock(&mutex);
      while (!is_done) changed.Wait(&mutex);
    }
    calls_.Remove(&context);
    return StatusOf(end, member);
  }

  const EtcdOptions options_;
  EtcdCallsUnderWay calls_;
  std::vector<std::unique_ptr<Member>> members_;
  /// The one that is asked first.
  std::atomic<size_t> current_{0};
  Mutex mutex_;
  std::string token_ ABSL_GUARDED_BY(mutex_);

  class WatchStream;
};

class EtcdClient::Impl::WatchStream final : public EtcdWatch {
 public:
  WatchStream(Impl& client, const pb::WatchRequest& request)
      : client_(client), at_(client.current_.load()), stream_(client.calls_, request) {
    Member& member = *client_.members_[at_];
    const absl::StatusOr<std::string> token = client_.Token(member);
    if (!token.ok()) refused_ = token.status();
    if (!token.ok()) return;
    stream_.Start(*token, [&](auto* context, auto* reactor) { member.watch->async()->Watch(context, reactor); });
  }

  absl::StatusOr<EtcdNews> Next() override {
    const absl::StatusOr<EtcdNews> news = Read();
    if (MeansAway(news.status())) client_.MoveOnFrom(at_);
    if (absl::IsUnauthenticated(news.status())) client_.ForgetToken();
    return news;
  }
  void Cancel() override {
    if (refused_.ok()) stream_.Cancel();
  }

 private:
  absl::StatusOr<EtcdNews> Read() {
    RETURN_IF_ERROR(refused_);
    const Member& member = *client_.members_[at_];
    pb::WatchResponse response;
    // A member that lives says at once that the watch is made.
    const absl::Duration patience = greeted_ ? absl::InfiniteDuration() : client_.options_.timeout;
    if (!stream_.Next(&response, patience)) return client_.EndOf(stream_.Finish(), member);
    greeted_ = true;
    if (response.compact_revision() != 0) {
      return absl::OutOfRangeError(
          absl::StrCat("etcd '", member.address, "': changes up to ", response.compact_revision(), " are forgotten"));
    }
    if (response.canceled()) {
      // Of a watch etcd does not say that it is the token that it does not know (any more).
      client_.ForgetToken();
      return absl::UnavailableError(
          absl::StrCat("etcd '", member.address, "': the watch was ended: ", response.cancel_reason()));
    }
    EtcdNews news;
    news.cluster = response.header().cluster_id();
    news.revision = response.header().revision();
    news.partial = response.fragment();
    for (pb::Event& event : *response.mutable_events()) {
      news.changes.push_back({EntryOf(*event.mutable_kv()), event.type() == pb::Event::DELETE});
    }
    return news;
  }

  Impl& client_;
  const size_t at_;
  absl::Status refused_;
  EtcdStream<pb::WatchRequest, pb::WatchResponse> stream_;
  bool greeted_ = false;
};

std::unique_ptr<EtcdWatch> EtcdClient::Impl::Watch(const std::string& prefix, int64_t revision) {
  pb::WatchRequest request;
  pb::WatchCreateRequest& create = *request.mutable_create_request();
  create.set_key(prefix);
  create.set_range_end(EtcdRangeEnd(prefix));
  create.set_start_revision(revision);
  create.set_fragment(true);
  return std::make_unique<WatchStream>(*this, request);
}

EtcdClient::EtcdClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
EtcdClient::~EtcdClient() { Stop(); }

absl::StatusOr<std::unique_ptr<EtcdClient>> EtcdClient::Create(EtcdOptions options) {
  if (options.endpoints.empty() || options.endpoints.size() > kMaxMembers) {
    return absl::InvalidArgumentError(
        absl::StrCat("etcd: got ", options.endpoints.size(), " endpoints, want 1 to ", kMaxMembers));
  }
  for (const std::string& endpoint : options.endpoints) RETURN_IF_ERROR(CheckEndpoint(endpoint));
  if (options.certificate.empty() != options.key.empty()) {
    return absl::InvalidArgumentError("etcd: got a key or a certificate alone, want both or none");
  }
  if (options.roots.empty() && !options.key.empty()) {
    return absl::InvalidArgumentError("etcd: got a key without authorities, want both: without them it is not TLS");
  }
  return std::unique_ptr<EtcdClient>(new EtcdClient(std::make_unique<Impl>(std::move(options))));
}

absl::StatusOr<EtcdClient::Listing> EtcdClient::List(const std::string& prefix) {
  Listing listing;
  pb::RangeRequest request;
  request.set_key(prefix);
  request.set_range_end(EtcdRangeEnd(prefix));
  request.set_limit(kPageKeys);
  size_t bytes = 0;
  for (bool more = true; more;) {
    pb::RangeResponse response;
    RETURN_IF_ERROR(impl_->Call([&](Member& member, auto* context, auto done) {
      member.kv->async()->Range(context, &request, &response, std::move(done));
    }));
    if (listing.revision == 0) {
      listing.cluster = response.header().cluster_id();
      listing.revision = response.header().revision();
      // Later pages are of the same moment.
      request.set_revision(listing.revision);
    }
    more = response.more() && response.kvs_size() > 0;
    for (pb::KeyValue& one : *response.mutable_kvs()) {
      bytes += one.key().size() + one.value().size();
      listing.entries.push_back(EntryOf(one));
    }
    if (listing.entries.size() > kMaxKeys || bytes > kMaxBytes) {
      return absl::ResourceExhaustedError(absl::StrCat("etcd: got more than ", kMaxKeys, " keys or ", kMaxBytes >> 20,
                                                       " MiB below '", prefix, "', want less; use another prefix"));
    }
    if (more) request.set_key(listing.entries.back().key + std::string(1, '\0'));
  }
  return listing;
}

absl::StatusOr<EtcdEntry> EtcdClient::Get(const std::string& key) {
  pb::RangeRequest request;
  request.set_key(key);
  pb::RangeResponse response;
  RETURN_IF_ERROR(impl_->Call([&](Member& member, auto* context, auto done) {
    member.kv->async()->Range(context, &request, &response, std::move(done));
  }));
  if (response.kvs_size() == 0) return absl::NotFoundError(absl::StrCat("etcd: got no key '", key, "', want it there"));
  return EntryOf(*response.mutable_kvs(0));
}

absl::Status EtcdClient::Put(const std::string& key, absl::string_view value, int64_t lease) {
  pb::PutRequest request;
  request.set_key(key);
  request.set_value(value.data(), value.size());
  request.set_lease(lease);
  pb::PutResponse response;
  return impl_->Call([&](Member& member, auto* context, auto done) {
    member.kv->async()->Put(context, &request, &response, std::move(done));
  });
}

absl::StatusOr<bool> EtcdClient::Commit(const EtcdTransaction& transaction) {
  pb::TxnRequest request;
  for (const EtcdTransaction::Condition& condition : transaction.conditions) {
    pb::Compare& compare = *request.add_compare();
    compare.set_result(pb::Compare::EQUAL);
    compare.set_target(pb::Compare::CREATE);
    compare.set_key(condition.key);
    compare.set_create_revision(condition.create_revision);
  }
  for (const EtcdTransaction::Put& put : transaction.puts) {
    pb::PutRequest& one = *request.add_success()->mutable_request_put();
    one.set_key(put.key);
    one.set_value(put.value);
    one.set_lease(put.lease);
  }
  for (const std::string& key : transaction.deletes) {
    request.add_success()->mutable_request_delete_range()->set_key(key);
  }
  pb::TxnResponse response;
  RETURN_IF_ERROR(impl_->Call([&](Member& member, auto* context, auto done) {
    member.kv->async()->Txn(context, &request, &response, std::move(done));
  }));
  return response.succeeded();
}

absl::StatusOr<int64_t> EtcdClient::GrantLease(absl::Duration ttl) {
  pb::LeaseGrantRequest request;
  request.set_ttl(absl::ToInt64Seconds(absl::Ceil(ttl, absl::Seconds(1))));
  pb::LeaseGrantResponse response;
  RETURN_IF_ERROR(impl_->Call([&](Member& member, auto* context, auto done) {
    member.lease->async()->LeaseGrant(context, &request, &response, std::move(done));
  }));
  if (response.id() == 0) return absl::InternalError(absl::StrCat("etcd: got no lease: ", response.error()));
  return response.id();
}

absl::Status EtcdClient::KeepLeaseAlive(int64_t lease) { return impl_->KeepAlive(lease); }

absl::Status EtcdClient::RevokeLease(int64_t lease) {
  pb::LeaseRevokeRequest request;
  request.set_id(lease);
  pb::LeaseRevokeResponse response;
  return impl_->Call([&](Member& member, auto* context, auto done) {
    member.lease->async()->LeaseRevoke(context, &request, &response, std::move(done));
  });
}

std::unique_ptr<EtcdWatch> EtcdClient::Watch(const std::string& prefix, int64_t revision) {
  return impl_->Watch(prefix, revision);
}

void EtcdClient::Stop() { impl_->Stop(); }

std::string EtcdRangeEnd(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') prefix.pop_back();
  // All keys there are.
  if (prefix.empty()) return std::string(1, '\0');
  prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

}  // namespace portico
