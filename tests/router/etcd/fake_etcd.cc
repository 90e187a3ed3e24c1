#include "tests/router/etcd/fake_etcd.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "etcd/rpc.grpc.pb.h"

namespace portico {

namespace pb = etcdserverpb;

class FakeEtcd::Services {
 public:
  Services() : kv_(*this), watch_(*this), lease_(*this), auth_(*this) {}

  int Listen(int port) {
    {
      MutexLock lock(&mutex_);
      stopping_ = false;
    }
    grpc::ServerBuilder builder;
    int bound = 0;
    builder.AddListeningPort(absl::StrCat("127.0.0.1:", port), grpc::InsecureServerCredentials(), &bound);
    for (grpc::Service* service : std::initializer_list<grpc::Service*>{&kv_, &watch_, &lease_, &auth_}) {
      builder.RegisterService(service);
    }
    server_ = builder.BuildAndStart();
    PORTICO_CHECK(server_ != nullptr && bound != 0);
    return bound;
  }
  void Stop() {
    if (server_ == nullptr) return;
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
      changed_.NotifyAll();
    }
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_ = nullptr;
  }

  void Change(const std::string& key, const std::string* value, int64_t lease) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = keys_.find(key);
    if (value == nullptr && found == keys_.end()) return;
    ++revision_;
    pb::Event event;
    if (value == nullptr) {
      keys_.erase(found);
      event.set_type(pb::Event::DELETE);
      event.mutable_kv()->set_key(key);
      event.mutable_kv()->set_mod_revision(revision_);
    } else {
      pb::KeyValue& kv = keys_[key];
      if (kv.create_revision() == 0) kv.set_create_revision(revision_);
      kv.set_key(key);
      kv.set_value(*value);
      kv.set_mod_revision(revision_);
      kv.set_lease(lease);
      *event.mutable_kv() = kv;
    }
    history_.push_back(event);
    changed_.NotifyAll();
  }
  void EndLease(int64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    leases_.erase(id);
    std::vector<std::string> under;
    for (const auto& [key, kv] : keys_) {
      if (kv.lease() == id) under.push_back(key);
    }
    for (const std::string& key : under) Change(key, nullptr, 0);
  }
  void SetHeader(pb::ResponseHeader* header) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    header->set_cluster_id(cluster_);
    header->set_revision(revision_);
  }
  grpc::Status Check(const grpc::ServerContextBase& context) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (user_.empty()) return grpc::Status::OK;
    const auto token = context.client_metadata().find("token");
    if (token == context.client_metadata().end()) return {grpc::StatusCode::INVALID_ARGUMENT, "user name is empty"};
    if (tokens_.contains(std::string(token->second.data(), token->second.size()))) return grpc::Status::OK;
    return {grpc::StatusCode::UNAUTHENTICATED, "etcdserver: invalid auth token"};
  }
  grpc::Status Put(const pb::PutRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (request.lease() != 0 && !leases_.contains(request.lease())) {
      return {grpc::StatusCode::NOT_FOUND, "etcdserver: requested lease not found"};
    }
    Change(request.key(), &request.value(), request.lease());
    return grpc::Status::OK;
  }

  class Kv final : public pb::KV::Service {
   public:
    explicit Kv(Services& all) : all_(all) {}
    grpc::Status Range(grpc::ServerContext* context, const pb::RangeRequest* request,
                       pb::RangeResponse* response) override {
      MutexLock lock(&all_.mutex_);
      if (grpc::Status status = all_.Check(*context); !status.ok()) return status;
      ++all_.ranges_;
      all_.SetHeader(response->mutable_header());
      for (auto at = all_.keys_.lower_bound(request->key()); at != all_.keys_.end(); ++at) {
        const bool wanted =
            request->range_end().empty() ? at->first == request->key() : at->first < request->range_end();
        if (!wanted) break;
        if (request->limit() > 0 && response->kvs_size() == request->limit()) {
          response->set_more(true);
          break;
        }
        *response->add_kvs() = at->second;
      }
      return grpc::Status::OK;
    }
    grpc::Status Put(grpc::ServerContext* context, const pb::PutRequest* request, pb::PutResponse* response) override {
      MutexLock lock(&all_.mutex_);
      if (grpc::Status status = all_.Check(*context); !status.ok()) return status;
      return all_.Put(*request);
    }
    grpc::Status Txn(grpc::ServerContext* context, const pb::TxnRequest* request, pb::TxnResponse* response) override {
      MutexLock lock(&all_.mutex_);
      response->set_succeeded(true);
      for (const pb::Compare& compare : request->compare()) {
        const auto found = all_.keys_.find(compare.key());
        const int64_t created = found == all_.keys_.end() ? 0 : found->second.create_revision();
        if (created != compare.create_revision()) response->set_succeeded(false);
      }
      if (!response->succeeded()) return grpc::Status::OK;
      for (const pb::RequestOp& operation : request->success()) {
        if (operation.has_request_put()) {
          if (grpc::Status status = all_.Put(operation.request_put()); !status.ok()) return status;
        }
        if (operation.has_request_delete_range()) all_.Change(operation.request_delete_range().key(), nullptr, 0);
      }
      return grpc::Status::OK;
    }

   private:
    Services& all_;
  };

  class Watcher final : public pb::Watch::Service {
   public:
    using Stream = grpc::ServerReaderWriter<pb::WatchResponse, pb::WatchRequest>;

    explicit Watcher(Services& all) : all_(all) {}
    grpc::Status Watch(grpc::ServerContext* context, Stream* stream) override {
      pb::WatchRequest request;
      if (!stream->Read(&request)) return grpc::Status::OK;
      pb::WatchResponse response;
      MutexLock lock(&all_.mutex_);
      all_.SetHeader(response.mutable_header());
      response.set_created(true);
      if (!all_.Check(*context).ok()) {
        response.set_canceled(true);
        response.set_cancel_reason("etcdserver: permission denied");
        stream->Write(response);
        return grpc::Status::OK;
      }
      stream->Write(response);
      ++all_.watches_;
      grpc::Status status = Follow(context, stream, request.create_request());
      --all_.watches_;
      return status;
    }

   private:
    grpc::Status Follow(grpc::ServerContext* context, Stream* stream, const pb::WatchCreateRequest& create)
        ABSL_EXCLUSIVE_LOCKS_REQUIRED(all_.mutex_) {
      int64_t next = create.start_revision();
      const int epoch = all_.watch_epoch_;
      while (!all_.stopping_ && all_.watch_epoch_ == epoch) {
        pb::WatchResponse response;
        all_.SetHeader(response.mutable_header());
        if (next < all_.compacted_) {
          response.set_canceled(true);
          response.set_compact_revision(all_.compacted_);
          stream->Write(response);
          return grpc::Status::OK;
        }
        for (const pb::Event& event : all_.history_) {
          const pb::KeyValue& kv = event.kv();
          if (kv.mod_revision() < next || kv.key() < create.key() || kv.key() >= create.range_end()) continue;
          *response.add_events() = event;
        }
        next = std::max(next, all_.revision_ + 1);
        if (response.events_size() > 0) stream->Write(response);
        // A caller that goes is noticed in time.
        all_.changed_.WaitFor(&all_.mutex_, absl::Milliseconds(5));
        if (context->IsCancelled()) return grpc::Status::OK;
      }
      return {grpc::StatusCode::UNAVAILABLE, "etcdserver: no leader"};
    }

    Services& all_;
  };

  class Lease final : public pb::Lease::Service {
   public:
    explicit Lease(Services& all) : all_(all) {}
    grpc::Status LeaseGrant(grpc::ServerContext*, const pb::LeaseGrantRequest* request,
                            pb::LeaseGrantResponse* response) override {
      MutexLock lock(&all_.mutex_);
      response->set_id(++all_.next_lease_);
      response->set_ttl(request->ttl());
      all_.leases_.insert(response->id());
      return grpc::Status::OK;
    }
    grpc::Status LeaseRevoke(grpc::ServerContext*, const pb::LeaseRevokeRequest* request,
                             pb::LeaseRevokeResponse*) override {
      MutexLock lock(&all_.mutex_);
      all_.EndLease(request->id());
      return grpc::Status::OK;
    }
    grpc::Status LeaseKeepAlive(
        grpc::ServerContext*,
        grpc::ServerReaderWriter<pb::LeaseKeepAliveResponse, pb::LeaseKeepAliveRequest>* stream) override {
      pb::LeaseKeepAliveRequest request;
      while (stream->Read(&request)) {
        pb::LeaseKeepAliveResponse response;
        response.set_id(request.id());
        {
          MutexLock lock(&all_.mutex_);
          response.set_ttl(all_.leases_.contains(request.id()) ? 5 : 0);
        }
        stream->Write(response);
      }
      return grpc::Status::OK;
    }

   private:
    Services& all_;
  };

  class Auth final : public pb::Auth::Service {
   public:
    explicit Auth(Services& all) : all_(all) {}
    grpc::Status Authenticate(grpc::ServerContext*, const pb::AuthenticateRequest* request,
                              pb::AuthenticateResponse* response) override {
      MutexLock lock(&all_.mutex_);
      if (request->name() != all_.user_ || request->password() != all_.password_) {
        return {grpc::StatusCode::INVALID_ARGUMENT, "authentication failed, invalid user ID or password"};
      }
      response->set_token(absl::StrCat("token.", ++all_.next_token_));
      all_.tokens_.insert(response->token());
      return grpc::Status::OK;
    }

   private:
    Services& all_;
  };

  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::map<std::string, pb::KeyValue> keys_ ABSL_GUARDED_BY(mutex_);
  std::vector<pb::Event> history_ ABSL_GUARDED_BY(mutex_);
  std::set<int64_t> leases_ ABSL_GUARDED_BY(mutex_);
  int64_t next_lease_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t cluster_ ABSL_GUARDED_BY(mutex_) = 7;
  int64_t revision_ ABSL_GUARDED_BY(mutex_) = 1;
  int64_t compacted_ ABSL_GUARDED_BY(mutex_) = 0;
  int watch_epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  int watches_ ABSL_GUARDED_BY(mutex_) = 0;
  int ranges_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::string user_ ABSL_GUARDED_BY(mutex_);
  std::string password_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> tokens_ ABSL_GUARDED_BY(mutex_);
  int next_token_ ABSL_GUARDED_BY(mutex_) = 0;

 private:
  Kv kv_;
  Watcher watch_;
  Lease lease_;
  Auth auth_;
  std::unique_ptr<grpc::Server> server_;
};

FakeEtcd::FakeEtcd() : services_(std::make_unique<Services>()) {
  endpoint_ = absl::StrCat("127.0.0.1:", services_->Listen(0));
}
FakeEtcd::~FakeEtcd() { Stop(); }

EtcdOptions FakeEtcd::Options() const {
  EtcdOptions options;
  options.endpoints = {endpoint_};
  return options;
}

void FakeEtcd::Stop() { services_->Stop(); }
void FakeEtcd::Start() { services_->Listen(std::stoi(endpoint_.substr(endpoint_.rfind(':') + 1))); }

void FakeEtcd::Wipe() {
  MutexLock lock(&services_->mutex_);
  services_->keys_.clear();
  services_->history_.clear();
  services_->leases_.clear();
  ++services_->cluster_;
  services_->revision_ = 1;
  services_->compacted_ = 0;
  ++services_->watch_epoch_;
  services_->changed_.NotifyAll();
}

void FakeEtcd::Compact() {
  MutexLock lock(&services_->mutex_);
  services_->compacted_ = services_->revision_;
  std::erase_if(services_->history_, [this](const pb::Event& event) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return event.kv().mod_revision() < services_->compacted_;
  });
}

void FakeEtcd::EndWatches() {
  MutexLock lock(&services_->mutex_);
  ++services_->watch_epoch_;
  services_->changed_.NotifyAll();
}

void FakeEtcd::ExpireLeases() {
  MutexLock lock(&services_->mutex_);
  const std::set<int64_t> leases = services_->leases_;
  for (const int64_t lease : leases) services_->EndLease(lease);
}

void FakeEtcd::RequireUser(const std::string& user, const std::string& password) {
  MutexLock lock(&services_->mutex_);
  services_->user_ = user;
  services_->password_ = password;
  services_->tokens_.clear();
}

void FakeEtcd::ForgetTokens() {
  MutexLock lock(&services_->mutex_);
  services_->tokens_.clear();
}

void FakeEtcd::Put(const std::string& key, const std::string& value) {
  MutexLock lock(&services_->mutex_);
  services_->Change(key, &value, 0);
}

void FakeEtcd::Delete(const std::string& key) {
  MutexLock lock(&services_->mutex_);
  services_->Change(key, nullptr, 0);
}

std::map<std::string, std::string> FakeEtcd::Keys() const {
  MutexLock lock(&services_->mutex_);
  std::map<std::string, std::string> keys;
  for (const auto& [key, kv] : services_->keys_) keys[key] = kv.value();
  return keys;
}

size_t FakeEtcd::leases() const {
  MutexLock lock(&services_->mutex_);
  return services_->leases_.size();
}

int FakeEtcd::watches() const {
  MutexLock lock(&services_->mutex_);
  return services_->watches_;
}

void FakeEtcd::WaitForWatches(int count) const {
  MutexLock lock(&services_->mutex_);
  while (services_->watches_ != count) services_->changed_.WaitFor(&services_->mutex_, absl::Milliseconds(2));
}

int FakeEtcd::ranges() const {
  MutexLock lock(&services_->mutex_);
  return services_->ranges_;
}

}  // namespace portico
