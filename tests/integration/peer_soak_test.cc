// Very many calls between two processes: memory and descriptors of both stay as they are.

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "gtest/gtest.h"
#include "tests/integration/serving_process.h"
#include "tests/testing/memory.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/version_model.h"
#include "transport/transport.h"

namespace portico {
namespace {

constexpr int kInFlight = 256;
/// Calls before memory is looked at: the allocator and the pools have grown to their size by then.
constexpr int64_t kWarmUpCalls = 50'000;
/// A leak of 32 bytes a call shows at 10⁶ calls.
constexpr int64_t kToleranceBytes = int64_t{24} << 20;

int64_t Calls() {
  const char* text = std::getenv("PORTICO_SOAK_CALLS");
  return text == nullptr ? 1'000'000 : std::atoll(text);
}

/// Keeps kInFlight calls under way until as many are done as asked for. Every answer starts the next call.
class Caller {
 public:
  explicit Caller(Channel& channel) : channel_(channel) {
    header_.servable = "m";
    header_.signature = "serving_default";
    header_.tensors.resize(1);
    header_.tensors[0].name = "x";
  }

  /// Blocks. The number of calls that failed.
  int64_t Run(int64_t calls) {
    left_ = calls;
    {
      MutexLock lock(&mutex_);
      running_ = kInFlight;
    }
    for (int i = 0; i < kInFlight; ++i) Next();
    MutexLock lock(&mutex_);
    while (running_ > 0) idle_.Wait(&mutex_);
    return failed_.exchange(0);
  }

 private:
  void Next() {
    const int64_t number = left_.fetch_sub(1);
    if (number <= 0) {
      MutexLock lock(&mutex_);
      --running_;
      idle_.NotifyAll();
      return;
    }
    // Now and then one that is larger than what lies inside a message, and one that nobody waits for.
    const Tensor& input = number % 64 == 0 ? large_ : small_;
    const uint64_t id =
        channel_.Call(header_, absl::MakeConstSpan(&input, 1), Deadline::In(absl::Seconds(30), Clock::Real()),
                      [this](absl::StatusOr<PeerMessage> outcome) { OnAnswer(outcome); });
    if (number % 101 == 0) channel_.Cancel(id);
  }
  void OnAnswer(const absl::StatusOr<PeerMessage>& outcome) {
    const bool failed = outcome.ok() ? outcome->header.code != 0 : !absl::IsCancelled(outcome.status());
    if (failed && failed_.fetch_add(1) == 0) {
      ADD_FAILURE() << (outcome.ok() ? std::string(outcome->header.message) : outcome.status().ToString());
    }
    Next();
  }

  Channel& channel_;
  PeerHeader header_;
  const Tensor small_ = Tensor::Of<float>({1, 64}, std::vector<float>(64, 1));
  const Tensor large_ = Tensor::Of<float>({64, 64}, std::vector<float>(64 * 64, 1));
  std::atomic<int64_t> left_{0};
  std::atomic<int64_t> failed_{0};
  Mutex mutex_;
  CondVar idle_;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
};

class PeerSoak : public ::testing::TestWithParam<std::string> {};

/// PORTICO_SOAK_CALLS (default 10⁶) says how many.
TEST_P(PeerSoak, CallsLeaveMemoryAndDescriptorsOfBothProcessesAsTheyWere) {
  const TempFolder folder;
  PublishVersion(VersionModel(1), folder.Folder("m"), 1);
  const bool local = GetParam() == "unix";
  ServingProcess node({"--model=m=" + folder.path() + "/m",
                       "--peer=" + (local ? "unix://" + folder.path() + "/s" : GetParam() + "://127.0.0.1:0")});
  const auto transport = NewTransports({}, Clock::Real());
  auto channel = transport->Connect(node.Address("peer"), {});
  ASSERT_TRUE(channel.ok()) << channel.status();
  Caller caller(**channel);
  ASSERT_EQ(caller.Run(kWarmUpCalls), 0);
  const int64_t own_memory = ResidentBytes(), node_memory = ResidentBytes(node.pid());
  const int own_descriptors = OpenDescriptors(), node_descriptors = OpenDescriptors(node.pid());

  const int64_t calls = Calls();
  const absl::Time start = absl::Now();
  // In slices: what grows and shrinks again would not show at the end.
  int64_t own_peak = 0, node_peak = 0;
  for (int64_t done = 0; done < calls; done += std::max<int64_t>(calls / 10, 1)) {
    ASSERT_EQ(caller.Run(std::max<int64_t>(calls / 10, 1)), 0);
    own_peak = std::max(own_peak, ResidentBytes());
    node_peak = std::max(node_peak, ResidentBytes(node.pid()));
    EXPECT_EQ(OpenDescriptors(), own_descriptors);
    EXPECT_EQ(OpenDescriptors(node.pid()), node_descriptors);
  }
  if (!kSanitized) {
    EXPECT_LT(own_peak - own_memory, kToleranceBytes) << "from " << own_memory;
    EXPECT_LT(node_peak - node_memory, kToleranceBytes) << "from " << node_memory;
  }
  std::printf("%s: %lld calls in %.1f s; caller %+.1f MiB, node %+.1f MiB at most since the first %lld\n",
              GetParam().c_str(), static_cast<long long>(calls), absl::ToDoubleSeconds(absl::Now() - start),
              static_cast<double>(own_peak - own_memory) / (1 << 20),
              static_cast<double>(node_peak - node_memory) / (1 << 20), static_cast<long long>(kWarmUpCalls));
}

INSTANTIATE_TEST_SUITE_P(Schemes, PeerSoak, ::testing::Values("unix", "tcp"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace portico
