// A watched cascade under several threads: audits, drift and a brown-out at once, and its end while audits are out.

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "remote_op/portal.h"
#include "router/static_resolver.h"
#include "tests/remote_op/cascade_spec_of.h"
#include "transport/transport.h"

namespace portico {
namespace {

/// Doubles what comes; of every five calls it refuses two, of audits none.
class FullModel final : public CallHandler {
 public:
  explicit FullModel(Transport& transport) { listener_ = *transport.Listen("inproc://full", *this, {}); }
  void OnCall(PeerMessage call, PeerReply reply) override {
    PeerHeader header;
    if (call.header.shadow) {
      ++audits;
    } else if (calls_.fetch_add(1) % 5 < 2) {
      header.code = static_cast<uint32_t>(absl::StatusCode::kResourceExhausted);
      header.message = "queue full";
      return reply(header, {});
    }
    std::vector<float> y;
    for (const float x : call.tensors[0].data<float>()) y.push_back(2 * x);
    reply(header, {Tensor::Of<float>(call.tensors[0].shape(), absl::MakeConstSpan(y))});
  }

  std::atomic<int> audits{0};

 private:
  std::atomic<unsigned> calls_{0};
  std::unique_ptr<Listener> listener_;
};

TEST(CascadeWatchStressTest, EveryRequestIsAnsweredOnceAndRightly) {
  constexpr int kCallers = 3, kRequests = 1500;
  constexpr int64_t kRows = 6;
  auto transport = NewInprocTransport(Clock::Real());
  FullModel full(*transport);
  const StaticResolver resolver(std::map<std::string, std::vector<std::string>>{{"full", {"inproc://full"}}});
  Router::Options options;
  options.policies["full"].retries = 0;
  auto router = *Router::Create(std::move(options), *transport, resolver, Clock::Real(), MetricRegistry::Null());
  // The last of the full model's inputs here is how much each row needs it, as far as the node is concerned.
  PortalSpec spec = CascadeSpecOf({{"y", DType::kFloat, "N"}}, {"x"},
                                  {String("on_row_error", "cheap"), Float("audit", 0.5F), Int("row_status", 1),
                                   Float("expected_agreement", 0.5F), Float("expected_escalated", 0.5F)},
                                  true);
  spec.cascade->watch.max_shed = 0.5;
  auto portal = *NewPortal(spec, *router);
  std::vector<std::thread> callers;
  std::atomic<int> answered{0};
  for (int c = 0; c < kCallers; ++c) {
    callers.emplace_back([&, c] {
      for (int i = 0; i < kRequests; ++i) {
        const auto x = static_cast<float>(kRequests * c + i);
        const Tensor mask = Tensor::Of<bool>({kRows}, {true, false, true, false, true, false});
        const std::vector<float> cheap(kRows, -1), in(kRows, x);
        portal->Run(
            MakeRef<RequestContext>(),
            {mask, Tensor::Of<float>({kRows}, absl::MakeConstSpan(cheap)),
             Tensor::Of<float>({kRows}, absl::MakeConstSpan(in)), Tensor::Of<float>({kRows}, {5, 0, 1, 0, 3, 0})},
            [&, x](absl::StatusOr<std::vector<Tensor>> outputs) {
              EXPECT_TRUE(outputs.ok()) << outputs.status();
              if (!outputs.ok()) return;
              for (int64_t row = 0; row < kRows; ++row) {
                const auto at = static_cast<size_t>(row);
                const bool asked = (*outputs)[1].data<int8_t>()[at] == 1;
                EXPECT_TRUE(!asked || row % 2 == 0);
                EXPECT_EQ((*outputs)[0].data<float>()[at], asked ? 2 * x : -1);
              }
              ++answered;
            });
        // Long enough for a brown-out to begin, and to be watched.
        if (i % 10 == 0) absl::SleepFor(absl::Milliseconds(3));
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const absl::Time end = absl::Now() + absl::Seconds(30); answered < kCallers * kRequests && absl::Now() < end;) {
    std::this_thread::yield();
  }
  EXPECT_EQ(answered.load(), kCallers * kRequests);
  EXPECT_GT(full.audits.load(), 0);
  // Audits may be out, and a step of the brown-out due.
  portal.reset();
  router.reset();
}

}  // namespace
}  // namespace portico
