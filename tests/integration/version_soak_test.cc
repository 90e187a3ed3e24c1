#include <atomic>
#include <cstdlib>
#include <future>
#include <thread>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/integration/node_fixture.h"
#include "tests/testing/memory.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/version_model.h"

namespace portico {
namespace {

constexpr int kGrpcClients = 2;
constexpr int kInProcessClients = 2;
/// 1 MiB of weights a version: what stays behind shows.
constexpr int64_t kColumns = 4096;
/// From then on memory is to stay flat. The allocator and gRPC have grown to their size by then.
constexpr int kWarmUpFlips = 60;
/// Between flips, so that the new version answers for a while.
constexpr absl::Duration kPause = absl::Milliseconds(50);
/// A leak of one version in five shows at 300 flips.
constexpr int64_t kToleranceBytes = int64_t{48} << 20;

int FromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

/// Publishes version after version of a model under full load: over gRPC, in process, and through a portal of another
/// node. Each version's folder goes once the next one serves. No request may fail; each answer must be of one version,
/// and of one that was there.
///
/// PORTICO_SOAK_FLIPS (default 300) and PORTICO_SOAK_MINUTES (default 0) say how long: until both are reached.
class VersionSoak : public ::testing::Test {
 protected:
  VersionSoak() {
    PublishVersion(VersionModel(1, kColumns), base_, 1);
    node_ = StartNode(LocalNode("soak", {{"m", base_}}));
    ModelBuilder through;
    through.Input("x", DType::kFloat, {"N", 64}).Output("y", DType::kFloat, {"N", 2});
    through.Portal("Remote", "m", {"x"}, {"y"}, {DType::kFloat}, {"N,2"});
    through.WriteTo(folder_.File("through/1/model.onnx"));
    Node::Options front = LocalNode("front", {{"through", folder_.Folder("through")}});
    front.peers["m"] = {node_->peer_endpoint()};
    front_ = StartNode(std::move(front));
    for (int i = 0; i < kGrpcClients; ++i) threads_.emplace_back([this, i] { CallOverGrpc(*node_, "m", i); });
    threads_.emplace_back([this] { CallOverGrpc(*front_, "through", 1); });
    for (int i = 0; i < kInProcessClients; ++i) threads_.emplace_back([this, i] { CallInProcess(i); });
  }

  ~VersionSoak() override { StopClients(); }

  void StopClients() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  static Tensor Input(int rows) {
    return Tensor::Of<float>({rows, 64}, std::vector<float>(static_cast<size_t>(rows) * 64, 1));
  }

  void CallOverGrpc(const Node& node, const std::string& model, int number) {
    PredictClient client(node.grpc_address());
    const std::vector<NamedTensor> inputs = {{"x", Input(1 + number)}};
    while (!stop_) {
      const int64_t before = available_;
      const absl::StatusOr<Outputs> outputs = client.Predict(model, inputs);
      if (!outputs.ok()) {
        Fail(outputs.status().ToString());
      } else {
        Check(outputs->at("y"), before);
      }
    }
  }

  void CallInProcess(int number) {
    Inference& inference = node_->inference();
    const Tensor input = Input(1 + number);
    while (!stop_) {
      const int64_t before = available_;
      const auto servable = inference.servables().Resolve({.name = "m"});
      if (!servable.ok()) {
        Fail(servable.status().ToString());
        continue;
      }
      std::promise<absl::StatusOr<std::vector<Tensor>>> answer;
      inference.Run(RequestApi::kPeer, *servable, (*servable)->signatures()[0], MakeRef<RequestContext>(), {input},
                    [&](absl::StatusOr<std::vector<Tensor>> outputs) { answer.set_value(std::move(outputs)); });
      const absl::StatusOr<std::vector<Tensor>> outputs = answer.get_future().get();
      if (!outputs.ok()) {
        Fail(outputs.status().ToString());
        continue;
      }
      Check((*outputs)[0], before);
      if ((*outputs)[0].data<float>()[0] != 64.f * static_cast<float>((*servable)->version())) {
        Fail("an answer of another version than the one that was resolved");
      }
    }
  }

  /// `before`: the version that was available when the request was sent.
  void Check(const Tensor& y, int64_t before) {
    const absl::Span<const float> values = y.data<float>();
    for (const float value : values) {
      if (value != values[0]) return Fail("an answer of two versions");
    }
    const auto version = static_cast<int64_t>(values[0] / 64);
    if (version < before || version > published_ || static_cast<float>(version) * 64 != values[0]) {
      return Fail(absl::StrCat("an answer of version ", version, ", want one of ", before, " to ", published_.load()));
    }
    requests_.fetch_add(1, std::memory_order_relaxed);
  }

  void Fail(const std::string& what) {
    if (failures_.fetch_add(1) < 10) ADD_FAILURE() << what;
  }

  bool WaitUntilAvailable(int64_t version) {
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (absl::Now() < until) {
      const auto servable = node_->inference().servables().Resolve({.name = "m"});
      if (servable.ok() && (*servable)->version() >= version) return true;
      absl::SleepFor(absl::Milliseconds(2));
    }
    return false;
  }

  const TempFolder folder_;
  const std::string base_ = folder_.Folder("m");
  std::unique_ptr<Node> node_;
  std::unique_ptr<Node> front_;
  std::atomic<bool> stop_{false};
  /// The highest version known to serve, and the highest there is.
  std::atomic<int64_t> available_{1};
  std::atomic<int64_t> published_{1};
  std::atomic<int64_t> requests_{0};
  std::atomic<int64_t> failures_{0};
  std::vector<std::thread> threads_;
};

TEST_F(VersionSoak, FlipsUnderLoadFailNoRequestAndKeepMemoryFlat) {
  const int flips = FromEnvironment("PORTICO_SOAK_FLIPS", 300);
  const absl::Time until = absl::Now() + absl::Minutes(FromEnvironment("PORTICO_SOAK_MINUTES", 0));
  const absl::Time start = absl::Now();
  int64_t warm = 0, peak = 0;
  int64_t version = 1;
  for (int flip = 1; (flip <= flips || absl::Now() < until) && failures_ == 0; ++flip) {
    published_ = ++version;
    PublishVersion(VersionModel(version, kColumns), base_, version);
    ASSERT_TRUE(WaitUntilAvailable(version)) << "version " << version;
    available_ = version;
    std::filesystem::remove_all(absl::StrCat(base_, "/", version - 1));
    absl::SleepFor(kPause);
    const int64_t resident = ResidentBytes();
    if (flip <= kWarmUpFlips) {
      warm = std::max(warm, resident);
    } else {
      peak = std::max(peak, resident);
    }
  }
  StopClients();
  EXPECT_EQ(failures_, 0);
  EXPECT_GT(requests_, version);
  EXPECT_LT(peak - warm, kToleranceBytes) << "from " << warm << " to " << peak;
  // Series of versions that have gone go too.
  const std::string metrics = Http(node_->http_address(), "/metrics").body;
  EXPECT_TRUE(absl::StrContains(metrics, absl::StrCat("version=\"", version, "\"")));
  EXPECT_FALSE(absl::StrContains(metrics, "version=\"3\""));
  std::printf("%lld flips in %.1f s, %lld requests, %lld MiB after warm-up, %lld MiB at most since\n",
              static_cast<long long>(version - 1), absl::ToDoubleSeconds(absl::Now() - start),
              static_cast<long long>(requests_.load()), static_cast<long long>(warm >> 20),
              static_cast<long long>(peak >> 20));
}

}  // namespace
}  // namespace portico
