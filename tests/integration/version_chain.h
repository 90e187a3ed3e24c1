#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/integration/client_versions.h"
#include "tests/integration/node_fixture.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/version_model.h"

namespace portico {

/// Two models in a chain, each version of which says its number: `head` answers `own` itself, and `y` through a portal
/// to `m` that names no version. Where every revision has the same version of both, an answer whose halves differ was
/// given by two revisions: clients that never pause look for those.
class VersionChainTest : public ::testing::Test {
 protected:
  VersionChainTest() { Publish(1); }
  ~VersionChainTest() override { StopClients(); }

  /// Version folders of both models.
  void Publish(int64_t version) const {
    PublishVersion(VersionModel(version), folder_.Folder("m"), version);
    const std::vector<float> weights(64, static_cast<float>(version));
    ModelBuilder head;
    head.Input("x", DType::kFloat, {"N", 64}).Output("own", DType::kFloat, {"N", 1});
    head.Output("y", DType::kFloat, {"N", 2}).Initializer("w", Tensor::Of<float>({64, 1}, weights));
    head.Node("MatMul", {"x", "w"}, {"own"});
    head.Portal("Remote", "m", {"x"}, {"y"}, {DType::kFloat}, {"N,2"});
    PublishVersion(head, folder_.Folder("head"), version);
  }

  /// The first one asks for one row, the next for two, and so on.
  void StartClients(const std::string& address, int count) {
    for (int i = 0; i < count; ++i)
      clients_.emplace_back([this, address, i] { Call(address, static_cast<size_t>(i)); });
  }
  void StopClients() {
    stop_ = true;
    for (std::thread& client : clients_) client.join();
    clients_.clear();
  }
  void WaitForAnswers(int64_t more) const {
    const int64_t until = answers_ + more;
    for (const absl::Time end = absl::Now() + absl::Minutes(1); answers_ < until && absl::Now() < end;) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    EXPECT_GE(answers_, until);
  }
  /// Blocks until all clients are answered by that version.
  void WaitForVersion(int64_t version) const { versions_.WaitFor(version, clients_.size()); }

  const TempFolder folder_;
  std::atomic<int64_t> answers_{0};
  std::atomic<int64_t> failures_{0};
  std::atomic<int64_t> last_version_{0};

 private:
  void Call(const std::string& address, size_t number) {
    PredictClient client(address);
    const auto rows = static_cast<int64_t>(number) + 1;
    const Tensor x = Tensor::Of<float>({rows, 64}, std::vector<float>(static_cast<size_t>(rows) * 64, 1));
    while (!stop_) {
      const absl::StatusOr<Outputs> outputs = client.Predict("head", {{"x", x}});
      if (!outputs.ok()) {
        Fail(outputs.status().ToString());
        continue;
      }
      const float own = outputs->at("own").data<float>()[0], y = outputs->at("y").data<float>()[0];
      if (own != y) Fail(absl::StrCat("an answer of versions ", own / 64, " and ", y / 64));
      const auto version = static_cast<int64_t>(own / 64);
      last_version_ = version;
      versions_.Set(number, version);
      ++answers_;
    }
  }
  void Fail(const std::string& what) {
    if (failures_.fetch_add(1) < 5) ADD_FAILURE() << what;
  }

  ClientVersions versions_;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> clients_;
};

}  // namespace portico
