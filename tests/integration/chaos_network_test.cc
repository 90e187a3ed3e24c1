// Two replicas, one of them on another host as far as the network goes: its cable is pulled and plugged in again, or is
// long. Skipped where network namespaces are not allowed.

#include <sys/stat.h>
#include <zmq.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "gtest/gtest.h"
#include "tests/integration/chaos_mesh.h"
#include "tests/integration/net_namespace.h"
#include "tests/testing/temp_folder.h"
#include "tests/transport/identity.h"

namespace portico {
namespace {

/// 2 s is what is wanted; the rest is for a machine that does other things, too.
constexpr absl::Duration kRecovery = absl::Seconds(10);

class ChaosNetworkTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<NetNamespace>> far = NetNamespace::Create();
    if (!far.ok()) GTEST_SKIP() << "no network namespace: " << far.status().message();
    far_ = *std::move(far);
  }

  /// Flags of every node: off loopback nobody listens without keys.
  std::vector<std::string> Keys() {
    const auto write = [&](const std::string& name, const std::string& text) {
      const std::string path = keys_.Write(name, text);
      chmod(path.c_str(), 0600);
      return path;
    };
    if (GetParam().starts_with("zmq")) {
      char open[41], secret[41];
      PORTICO_CHECK(zmq_curve_keypair(open, secret) == 0);
      return {"--curve-key", "'" + write("own", absl::StrCat(open, "\n", secret, "\n")) + "'", "--curve-allow",
              "'" + write("allow", open) + "'"};
    }
    const Identity identity = Identity::Make(absl::StrCat("IP:127.0.0.1,IP:", far_->address()).c_str());
    return {"--peer-tls-key",   write("key", identity.key),
            "--peer-tls-cert",  write("cert", identity.certificate),
            "--peer-tls-allow", write("allow", identity.certificate)};
  }
  void Start() {
    ChaosMesh::Options options;
    options.scheme = GetParam();
    options.proxied = false;
    options.hosts[0] = far_->address();
    options.replica_prefixes[0] = far_->prefix();
    options.front_flags = options.replica_flags = Keys();
    mesh_.emplace(std::move(options));
    load_.emplace(mesh_->grpc());
    absl::SleepFor(absl::Milliseconds(500));  // Connections are made.
    healthy_since_ = absl::Now();
    absl::SleepFor(absl::Seconds(2));
  }

  const TempFolder keys_;
  std::unique_ptr<NetNamespace> far_;
  std::optional<ChaosMesh> mesh_;
  std::optional<ChaosLoad> load_;
  absl::Time healthy_since_;
};

TEST_P(ChaosNetworkTest, APulledCableHoldsUpOnlyWhatWasUnderWayAndIsUsedAgainSoon) {
  Start();
  EXPECT_GT(mesh_->Answers(0), 10) << "the far one takes part";
  const absl::Time fault_at = absl::Now();
  far_->Plug(false);
  const absl::Duration noticed = mesh_->WaitForState(0, "away");
  const absl::Duration recovered = load_->WaitForAll();
  absl::SleepFor(absl::Seconds(5));
  far_->Plug(true);
  const absl::Time healed_at = absl::Now();
  const absl::Duration back = mesh_->WaitForState(0, "here");
  absl::SleepFor(absl::Seconds(1));
  load_->Stop();
  const absl::Duration late = load_->LateAfter(healthy_since_, fault_at);
  const ChaosLoad::Summary seen = load_->Between(fault_at, absl::Now(), late);
  // Who is sent to one that is not there waits as long as those at first, until that is noticed.
  const ChaosLoad::Summary healed = load_->Between(healed_at, absl::Now(), std::max(late, noticed / 2));
  std::printf("[cable, %s] noticed after %s, here again %s after it healed; %zu late; %s\n", GetParam().c_str(),
              absl::FormatDuration(noticed).c_str(), absl::FormatDuration(back).c_str(), seen.late,
              seen.Text().c_str());
  EXPECT_EQ(seen.failed, 0u) << seen.first_error;
  EXPECT_LT(noticed, kRecovery);
  EXPECT_LT(recovered, kRecovery) << "what it had in hand, too, while the cable is out";
  EXPECT_EQ(healed.late, 0u) << healed.Text();
  EXPECT_LT(back, kRecovery);
}

TEST_P(ChaosNetworkTest, AShortInterruptionLosesNoConnection) {
  Start();
  const absl::Time fault_at = absl::Now();
  far_->Plug(false);
  absl::SleepFor(absl::Milliseconds(400));
  far_->Plug(true);
  const absl::Duration recovered = load_->WaitForAll();
  absl::SleepFor(absl::Seconds(3));
  load_->Stop();
  const ChaosLoad::Summary seen = load_->Between(fault_at, absl::Now(), load_->LateAfter(healthy_since_, fault_at));
  std::printf("[interruption, %s] %zu late; %s\n", GetParam().c_str(), seen.late, seen.Text().c_str());
  EXPECT_EQ(seen.failed, 0u) << seen.first_error;
  EXPECT_LT(recovered, kRecovery);
  // gRPC waits for the answer to a ping, which is behind what TCP has to send again.
  if (GetParam() != "grpc") {
    EXPECT_EQ(mesh_->Count("portico_portal_retries_total", "target", "leaf"), 0) << "TCP sent again what was lost";
  }
}

TEST_P(ChaosNetworkTest, AFarReplicaIsUsedLessAndFailsNothing) {
  if (const absl::Status status = far_->Delay(absl::Milliseconds(40)); !status.ok()) GTEST_SKIP() << status.message();
  Start();
  const absl::Time since = absl::Now();
  absl::SleepFor(absl::Seconds(4));
  load_->Stop();
  const ChaosLoad::Summary seen = load_->Between(since, absl::Now(), load_->LateAfter(healthy_since_, since));
  std::printf("[40 ms away, %s] %s\n", GetParam().c_str(), seen.Text().c_str());
  EXPECT_EQ(seen.failed, 0u) << seen.first_error;
  EXPECT_GT(mesh_->Answers(1), 10 * mesh_->Answers(0));
}

INSTANTIATE_TEST_SUITE_P(Schemes, ChaosNetworkTest, ::testing::Values("tcp", "zmq+tcp", "grpc"), [](const auto& info) {
  return absl::StrReplaceAll(info.param, {{"+", "_"}});
});

}  // namespace
}  // namespace portico
