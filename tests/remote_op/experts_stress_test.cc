// A portal of experts under several threads: answers, failures, cancelled calls and the time of k_min all at once.

#include <atomic>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "remote_op/portal.h"
#include "router/static_resolver.h"
#include "tests/remote_op/remote_spec.h"
#include "tests/remote_op/threaded_transport.h"

namespace portico {
namespace {

constexpr int kExperts = 6;

float AnswerOf(int expert, float x) { return x + static_cast<float>(100 * (expert + 1)); }

PeerMessage AnswerTo(const std::string& servable, const std::vector<Tensor>& tensors) {
  int expert = -1;
  EXPECT_TRUE(absl::SimpleAtoi(servable.substr(1), &expert));
  std::vector<float> y;
  for (const float value : tensors[0].data<float>()) y.push_back(AnswerOf(expert, value));
  PeerMessage reply;
  reply.header.tensors.resize(1);
  reply.header.tensors[0].name = "y";
  reply.tensors.push_back(Tensor::Of<float>(tensors[0].shape(), absl::MakeConstSpan(y)));
  return reply;
}

struct Case {
  const char* name;
  unsigned fails;
  int k_min;
  absl::Duration k_min_after;
};

class ExpertsStressTest : public ::testing::TestWithParam<Case> {};

TEST_P(ExpertsStressTest, EveryRequestIsAnsweredOnceAndRightly) {
  constexpr int kCallers = 3, kRequests = 300;
  constexpr int64_t kRows = 8;
  std::map<std::string, std::vector<std::string>> peers;
  for (int e = 0; e < kExperts; ++e) peers[absl::StrCat("e", e)] = {absl::StrCat("x://e", e)};
  const StaticResolver resolver(peers);
  ThreadedTransport transport(GetParam().fails, AnswerTo);
  auto router = *Router::Create({}, transport, resolver, Clock::Real(), MetricRegistry::Null());
  PortalSpec spec;
  spec.op_type = "Experts";
  spec.node_name = "moe";
  spec.signature = "serving_default";
  spec.input_names = {"x"};
  spec.outputs = {SpecOf("y", DType::kFloat, {{-1, "N"}}), SpecOf("row_status", DType::kInt8, {{-1, "N"}})};
  spec.experts.emplace();
  for (int e = 0; e < kExperts; ++e) spec.experts->targets.push_back({absl::StrCat("e", e), Digest()});
  spec.experts->k = 2;
  spec.experts->k_min = GetParam().k_min;
  spec.experts->k_min_after = GetParam().k_min_after;
  spec.experts->weights = ExpertWeights::kRenormalize;
  spec.experts->row_status = true;
  auto portal = NewPortal(spec, *router);
  ASSERT_TRUE(portal.ok()) << portal.status();
  std::atomic<int> answered{0}, complete{0};
  const auto caller = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < kRequests; ++i) {
      std::vector<float> gates, x;
      for (int64_t row = 0; row < kRows; ++row) {
        for (int e = 0; e < kExperts; ++e) gates.push_back(static_cast<float>(1 + random() % 3));
        x.push_back(static_cast<float>(random() % 100));
      }
      std::atomic<bool> done{false};
      (*portal)->Run(MakeRef<RequestContext>(),
                     {Tensor::Of<float>({kRows, kExperts}, absl::MakeConstSpan(gates)),
                      Tensor::Of<float>({kRows}, absl::MakeConstSpan(x))},
                     [&](absl::StatusOr<std::vector<Tensor>> outputs) {
                       EXPECT_TRUE(outputs.ok()) << outputs.status();
                       for (size_t row = 0; outputs.ok() && row < kRows; ++row) {
                         const float y = (*outputs)[0].data<float>()[row];
                         const int8_t status = (*outputs)[1].data<int8_t>()[row];
                         complete += status == 0;
                         // Between the least and the most that an expert says.
                         EXPECT_TRUE(status == 2 ? std::isnan(y) : y >= x[row] + 100 && y <= x[row] + 100 * kExperts)
                             << y;
                       }
                       ++answered;
                       done = true;
                     });
      while (!done) std::this_thread::yield();
    }
  };
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) callers.emplace_back(caller, static_cast<unsigned>(i));
  for (std::thread& thread : callers) thread.join();
  EXPECT_EQ(answered, kCallers * kRequests);
  EXPECT_GT(complete, 0);
  if (GetParam().fails == 0 && GetParam().k_min == 2) {
    EXPECT_EQ(complete, kCallers * kRequests * kRows);
  }
  // What was taken back may still be on its way: the portal may go before it.
  portal->reset();
  router.reset();
}

INSTANTIATE_TEST_SUITE_P(Ways, ExpertsStressTest,
                         ::testing::Values(Case{"AllAnswer", 0, 2, absl::ZeroDuration()},
                                           Case{"SomeFail", 5, 2, absl::ZeroDuration()},
                                           Case{"FirstIsEnough", 0, 1, absl::ZeroDuration()},
                                           Case{"SomeFailAndTimeIsShort", 4, 1, absl::Microseconds(200)}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace portico
