#include "node/frontend/grpc_health.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "base/timer.h"
#include "grpc/health/health.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "node/frontend/v2_info.h"

namespace portico {
namespace {

namespace health = ::grpc::health::v1;
using Serving = health::HealthCheckResponse;

constexpr absl::string_view kNodeServices[] = {"", "tensorflow.serving.PredictionService",
                                               "tensorflow.serving.ModelService", "inference.GRPCInferenceService",
                                               "grpc.health.v1.Health"};

/// One Watch: sends a status whenever it differs from the one sent before.
class Watch final : public grpc::ServerWriteReactor<Serving> {
 public:
  explicit Watch(std::string service) : service_(std::move(service)) {}

  const std::string& service() const { return service_; }
  /// `held` keeps it alive until gRPC is done with it.
  void Hold(std::shared_ptr<Watch> held) { self_ = std::move(held); }

  /// `last`: the node goes; the watch ends once this is sent.
  void Offer(Serving::ServingStatus status, bool last) {
    {
      MutexLock lock(&mutex_);
      wanted_ = status;
      last_ |= last;
    }
    Advance();
  }
  bool finished() const {
    MutexLock lock(&mutex_);
    return finished_;
  }

  void OnWriteDone(bool ok) override {
    {
      MutexLock lock(&mutex_);
      writing_ = false;
      cancelled_ |= !ok;
    }
    Advance();
  }
  void OnCancel() override {
    {
      MutexLock lock(&mutex_);
      cancelled_ = true;
    }
    Advance();
  }
  void OnDone() override { const std::shared_ptr<Watch> last = std::move(self_); }

 private:
  /// Not under the lock: gRPC may answer in place.
  void Advance() {
    bool write = false;
    grpc::Status end;
    {
      MutexLock lock(&mutex_);
      if (writing_ || finished_) return;
      if (!cancelled_ && wanted_ != sent_) {
        sent_ = wanted_;
        message_.set_status(static_cast<Serving::ServingStatus>(sent_));
        writing_ = write = true;
      } else if (cancelled_ || last_) {
        finished_ = true;
        end = grpc::Status(grpc::StatusCode::UNAVAILABLE, "the node is shutting down");
      } else {
        return;
      }
    }
    if (write)
      StartWrite(&message_);
    else
      Finish(end);
  }

  const std::string service_;
  std::shared_ptr<Watch> self_;
  /// gRPC's while writing_.
  Serving message_;
  mutable Mutex mutex_;
  int wanted_ ABSL_GUARDED_BY(mutex_) = -1;
  int sent_ ABSL_GUARDED_BY(mutex_) = -1;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool last_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

/// What Check and Watch share; outlives the frontend by the timer's last look.
class Watches : public std::enable_shared_from_this<Watches> {
 public:
  Watches(GrpcHealth::Options options, Inference& inference, std::function<absl::Status()> ready)
      : options_(options), inference_(inference), ready_(std::move(ready)) {}

  Serving::ServingStatus StatusOf(const std::string& service) const {
    const auto serving = [](bool yes) { return yes ? Serving::SERVING : Serving::NOT_SERVING; };
    if (std::find(std::begin(kNodeServices), std::end(kNodeServices), service) != std::end(kNodeServices)) {
      return serving(ready_().ok());
    }
    const Servables& servables = inference_.servables();
    if (!servables.Has(service)) return Serving::SERVICE_UNKNOWN;
    ServableRef ref;
    ref.name = service;
    return serving(!inference_.draining() && V2ModelReady(servables, ref));
  }

  grpc::ServerWriteReactor<Serving>* NewWatch(const std::string& service) {
    auto watch = std::make_shared<Watch>(service);
    watch->Hold(watch);
    bool full = false, first = false;
    {
      MutexLock lock(&mutex_);
      watches_.erase(std::remove_if(watches_.begin(), watches_.end(), [](const auto& w) { return w->finished(); }),
                     watches_.end());
      full = watches_.size() >= static_cast<size_t>(options_.max_watches);
      if (!full) watches_.push_back(watch);
      first = !full && !std::exchange(looking_, true);
    }
    if (full) {
      watch->Finish(
          grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                       absl::StrCat("health: got ", options_.max_watches, " watches, want at most that; use Check")));
      return watch.get();
    }
    watch->Offer(StatusOf(service), inference_.draining());
    if (first) LookLater();
    return watch.get();
  }

  /// The frontend goes: nothing it refers to is touched from here on.
  void Stop() {
    MutexLock lock(&mutex_);
    stopped_ = true;
  }

 private:
  void LookLater() {
    Timer::Real().ScheduleAt(absl::Now() + options_.watch_period, [self = shared_from_this()] { self->Look(); });
  }

  void Look() {
    std::vector<std::shared_ptr<Watch>> watches;
    std::vector<Serving::ServingStatus> statuses;
    bool draining = false;
    {
      MutexLock lock(&mutex_);
      watches_.erase(std::remove_if(watches_.begin(), watches_.end(), [](const auto& w) { return w->finished(); }),
                     watches_.end());
      looking_ = !watches_.empty() && !stopped_;
      if (!looking_) return;
      // Under the lock, so that Stop() waits for it; it takes no lock that leads here.
      watches = watches_;
      draining = inference_.draining();
      for (const auto& watch : watches) statuses.push_back(StatusOf(watch->service()));
    }
    for (size_t i = 0; i < watches.size(); ++i) watches[i]->Offer(statuses[i], draining);
    LookLater();
  }

  const GrpcHealth::Options options_;
  Inference& inference_;
  const std::function<absl::Status()> ready_;
  Mutex mutex_;
  std::vector<std::shared_ptr<Watch>> watches_ ABSL_GUARDED_BY(mutex_);
  bool looking_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

class Health final : public GrpcHealth, public health::Health::CallbackService {
 public:
  Health(Options options, Inference& inference, std::function<absl::Status()> ready)
      : watches_(std::make_shared<Watches>(options, inference, std::move(ready))) {}
  ~Health() override { watches_->Stop(); }

  std::vector<grpc::Service*> services() override { return {this}; }

  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* call, const health::HealthCheckRequest* request,
                                  Serving* response) override {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    const Serving::ServingStatus status = watches_->StatusOf(request->service());
    if (status == Serving::SERVICE_UNKNOWN) {
      reactor->Finish(grpc::Status(grpc::StatusCode::NOT_FOUND,
                                   absl::StrCat("service '", request->service().substr(0, 256),
                                                "': unknown; want the name of a service or of a model")));
    } else {
      response->set_status(status);
      reactor->Finish(grpc::Status::OK);
    }
    return reactor;
  }

  grpc::ServerWriteReactor<Serving>* Watch(grpc::CallbackServerContext* call,
                                           const health::HealthCheckRequest* request) override {
    return watches_->NewWatch(request->service());
  }

 private:
  const std::shared_ptr<Watches> watches_;
};

}  // namespace

std::unique_ptr<GrpcHealth> GrpcHealth::Create(Options options, Inference& inference,
                                               std::function<absl::Status()> ready) {
  return std::make_unique<Health>(options, inference, std::move(ready));
}

}  // namespace portico
