#pragma once

#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/router.h"
#include "router/static_resolver.h"
#include "tests/router/fake_transport.h"

namespace portico {

inline Digest DigestOf(char c) { return Sha256(std::string(1, c)); }

/// A router over a transport that the test answers for.
class RouterTest : public ::testing::Test {
 protected:
  using Result = absl::StatusOr<PeerMessage>;

  RouterTest() {
    target_.servable.name = "hub/enc";
    target_.signature = "serving_default";
  }

  void Make(std::vector<std::string> endpoints, Router::Options options = {}) {
    resolver_.emplace(
        std::map<std::string, std::vector<std::string>>{{"hub/enc", endpoints}, {"hub/other", endpoints}});
    if (!options.random) options.random = [this] { return random_(); };
    auto router = Router::Create(std::move(options), transport_, *resolver_, clock_, MetricRegistry::Null());
    ASSERT_TRUE(router.ok()) << router.status();
    router_ = *std::move(router);
  }
  /// Where the answer of a call is going to be.
  std::shared_ptr<std::optional<Result>> Call(const RouteTarget& target,
                                              Ref<RequestContext> context = MakeRef<RequestContext>(),
                                              std::vector<Tensor> tensors = {}) {
    auto result = std::make_shared<std::optional<Result>>();
    router_->Call(target, Ref<const RequestContext>(context.get()), tensors, [result](Result r) {
      ASSERT_FALSE(result->has_value());
      *result = std::move(r);
    });
    return result;
  }
  absl::Status StatusOfCall(const RouteTarget& target, Ref<RequestContext> context = MakeRef<RequestContext>()) {
    const auto result = Call(target, std::move(context));
    return result->has_value() ? (*result)->status() : absl::UnknownError("still out");
  }

  FakeClock clock_;
  FakeTransport transport_;
  std::mt19937_64 random_{7};
  std::optional<StaticResolver> resolver_;
  std::unique_ptr<Router> router_;
  RouteTarget target_;
};

}  // namespace portico
