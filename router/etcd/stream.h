#pragma once

// For .cc files only: it is about gRPC's types.

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace portico {

/// Calls that are under way, so that Stop() ends them. Thread-safe.
class EtcdCallsUnderWay {
 public:
  void Add(grpc::ClientContext* context) {
    MutexLock lock(&mutex_);
    contexts_.insert(context);
    if (stopped_) context->TryCancel();
  }
  void Remove(grpc::ClientContext* context) {
    MutexLock lock(&mutex_);
    contexts_.erase(context);
  }
  void Stop() {
    MutexLock lock(&mutex_);
    stopped_ = true;
    for (grpc::ClientContext* context : contexts_) context->TryCancel();
  }
  bool stopped() const {
    MutexLock lock(&mutex_);
    return stopped_;
  }

 private:
  mutable Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<grpc::ClientContext*> contexts_ ABSL_GUARDED_BY(mutex_);
};

/// One request and any number of answers, read one by one by a thread that waits for them. gRPC's threads only say that
/// there is one.
template <class Request, class Response>
class EtcdStream final : public grpc::ClientBidiReactor<Request, Response> {
 public:
  EtcdStream(EtcdCallsUnderWay& calls, const Request& request) : calls_(calls), request_(request) {}
  ~EtcdStream() override {
    if (!started_) return;
    context_.TryCancel();
    LetGo();
    MutexLock lock(&mutex_);
    while (!done_) changed_.Wait(&mutex_);
  }

  /// `open` binds it to a method. Once.
  template <class Open>
  void Start(const std::string& token, Open open) {
    started_ = true;
    // A member that has lost its leader knows nothing new: it ends the stream.
    context_.AddMetadata("hasleader", "true");
    if (!token.empty()) context_.AddMetadata("token", token);
    calls_.Add(&context_);
    open(&context_, this);
    this->AddHold();
    this->StartWrite(&request_);
    this->StartRead(&response_);
    this->StartCall();
  }
  /// Blocks. False: none came in time, or none will.
  bool Next(Response* response, absl::Duration timeout) {
    const absl::Time until = absl::Now() + timeout;
    {
      MutexLock lock(&mutex_);
      while (read_ == Read::kUnderWay) {
        const absl::Duration left = until - absl::Now();
        if (left <= absl::ZeroDuration()) return false;
        changed_.WaitFor(&mutex_, left);
      }
      if (read_ == Read::kOver) return false;
      read_ = Read::kUnderWay;
    }
    response->Swap(&response_);
    response_.Clear();
    this->StartRead(&response_);
    return true;
  }
  /// REQUIRES: Next() said false. Blocks until gRPC has let go.
  grpc::Status Finish() {
    context_.TryCancel();
    LetGo();
    MutexLock lock(&mutex_);
    while (!done_) changed_.Wait(&mutex_);
    return status_;
  }
  void Cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    MutexLock lock(&mutex_);
    read_ = ok ? Read::kThere : Read::kOver;
    changed_.NotifyAll();
  }
  void OnDone(const grpc::Status& status) override {
    calls_.Remove(&context_);
    MutexLock lock(&mutex_);
    status_ = status;
    done_ = true;
    // Under the lock: who waits destroys this next.
    changed_.NotifyAll();
  }

 private:
  enum class Read : uint8_t { kUnderWay, kThere, kOver };
  void LetGo() {
    if (!std::exchange(let_go_, true)) this->RemoveHold();
  }

  EtcdCallsUnderWay& calls_;
  const Request request_;
  grpc::ClientContext context_;
  bool started_ = false;
  bool let_go_ = false;
  Response response_;
  Mutex mutex_;
  CondVar changed_;
  Read read_ ABSL_GUARDED_BY(mutex_) = Read::kUnderWay;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
