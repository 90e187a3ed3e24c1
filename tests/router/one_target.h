#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "router/router.h"
#include "router/static_resolver.h"
#include "tests/router/fake_transport.h"

namespace portico {

/// A router with one target, "m", whose replicas the test plays.
class OneTarget : public ::testing::Test {
 protected:
  using Result = absl::StatusOr<PeerMessage>;

  OneTarget() { target_.servable.name = "m"; }

  /// The router, with these replicas, all connected. `timer`: null, its own.
  void Make(std::vector<std::string> endpoints, RoutePolicy policy = {}, Timer* timer = nullptr) {
    resolver_.emplace(std::map<std::string, std::vector<std::string>>{{"m", endpoints}});
    Router::Options options;
    options.default_policy = std::move(policy);
    options.random = [] { return 0; };  // Of equal replicas the first.
    options.timer = timer;
    router_ = *Router::Create(std::move(options), transport_, *resolver_, clock_, metrics_);
    router_->Warm(target_);
    for (const std::string& endpoint : endpoints) transport_.Connected(endpoint);
  }
  std::shared_ptr<std::optional<Result>> Call(const Ref<RequestContext>& context = MakeRef<RequestContext>()) {
    auto result = std::make_shared<std::optional<Result>>();
    const std::vector<Tensor> tensors = {Tensor::Of<int64_t>({1}, {42})};
    router_->Call(target_, Ref<const RequestContext>(context.get()), tensors, [result](Result r) {
      ASSERT_FALSE(result->has_value());
      *result = std::move(r);
    });
    return result;
  }
  size_t sent() const { return transport_.calls.size(); }
  void Fail(size_t call, absl::Status status) {
    // A retry makes the list longer: the call must not be looked at afterwards.
    Channel::Done done = std::exchange(transport_.calls[call].done, nullptr);
    done(std::move(status));
  }
  void Answer(size_t call, absl::StatusCode code = absl::StatusCode::kOk) {
    PeerMessage reply;
    reply.header.code = static_cast<uint32_t>(code);
    Channel::Done done = std::exchange(transport_.calls[call].done, nullptr);
    done(std::move(reply));
  }

  FakeClock clock_;
  FakeTransport transport_;
  CountedMetrics metrics_;
  std::optional<StaticResolver> resolver_;
  std::unique_ptr<Router> router_;
  RouteTarget target_;
};

}  // namespace portico
