#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/executor.h"
#include "gtest/gtest.h"
#include "node/observe/metrics.h"
#include "node/servables/servables.h"
#include "router/router.h"
#include "router/static_resolver.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/version_model.h"
#include "transport/transport.h"

namespace portico {

/// Servables over real folders, with real sessions, and all that they need of a node.
class ServablesFixture : public ::testing::Test {
 protected:
  using Held = std::shared_ptr<const Servable>;

  ServablesFixture()
      : metrics_(PrometheusMetrics::Create()),
        transport_(NewTransports({}, Clock::Real())),
        resolver_(StaticResolver::Table()),
        router_(*Router::Create({}, *transport_, resolver_, Clock::Real(), *metrics_)) {
    options_.poll_period = absl::Milliseconds(20);
  }
  ~ServablesFixture() override {
    servables_.reset();
    workers_.Stop();
  }

  /// Makes servables_ of options_.
  void Start() {
    servables_ = std::make_unique<Servables>(
        options_, Servable::Dependencies{workers_, workers_.size(), *router_, Clock::Real(), *metrics_, shards_});
  }
  ModelConfig Model(const std::string& name) const {
    ModelConfig config;
    config.name = name;
    config.base_path = folder_.Folder(name);
    return config;
  }
  void Publish(const std::string& name, int64_t version, int64_t columns = 16) const {
    PublishVersion(VersionModel(version, columns), folder_.Folder(name), version);
  }
  /// Configures and waits until everything has settled.
  absl::Status Configure(std::vector<ModelConfig> models) {
    if (servables_ == nullptr) Start();
    if (absl::Status status = servables_->Configure(std::move(models)); !status.ok()) return status;
    return Settled();
  }
  absl::Status Settled(absl::Duration timeout = absl::Seconds(30)) {
    std::promise<absl::Status> done;
    servables_->WhenSettled(Deadline::In(timeout, Clock::Real()),
                            [&](absl::Status status) { done.set_value(std::move(status)); });
    return done.get_future().get();
  }
  absl::StatusOr<Held> Acquire(const ServableRef& ref, Ref<RequestContext> context = MakeRef<RequestContext>()) {
    std::promise<absl::StatusOr<Held>> done;
    servables_->Acquire(ref, context, [&](absl::StatusOr<Held> held) { done.set_value(std::move(held)); });
    return done.get_future().get();
  }
  /// The version that `ref` means now; −1 with the error in error_ where there is none.
  int64_t VersionOf(const ServableRef& ref) {
    const absl::StatusOr<Held> servable = servables_->Resolve(ref);
    error_ = std::string(servable.status().message());
    return servable.ok() ? (*servable)->version() : -1;
  }
  Servables::State StateOf(const std::string& name, int64_t version) {
    const auto status = servables_->Status({.name = name, .version = version});
    return status.ok() ? (*status)[0].state : Servables::State::kStart;
  }
  /// Waits for what other threads bring about.
  template <typename Condition>
  static bool Eventually(Condition condition, absl::Duration timeout = absl::Seconds(30)) {
    const absl::Time until = absl::Now() + timeout;
    while (!condition()) {
      if (absl::Now() >= until) return false;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return true;
  }

  const TempFolder folder_;
  const std::unique_ptr<PrometheusMetrics> metrics_;
  ShardStore shards_;
  ThreadPool workers_{{.threads = 2, .name = "worker"}};
  const std::unique_ptr<Transport> transport_;
  const StaticResolver resolver_;
  const std::unique_ptr<Router> router_;
  Servables::Options options_;
  std::unique_ptr<Servables> servables_;
  std::string error_;
};

}  // namespace portico
