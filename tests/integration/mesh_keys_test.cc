// A mesh whose nodes need keys to reach each other, as its file says and `portico up` starts it.

#include <sys/stat.h>
#include <zmq.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/mesh_fixture.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/portico_command.h"
#include "tests/testing/free_port.h"
#include "tests/transport/identity.h"
#include "tests/transport/recording_handler.h"
#include "transport/transport.h"

namespace portico {
namespace {

class MeshKeysTest : public ::testing::Test {
 protected:
  MeshKeysTest() {
    folder_.WritePlain("leaf");
    folder_.WriteCaller("head", "leaf");
  }

  /// A file that only its owner may read; its path in the mesh file.
  std::string Write(const std::string& name, const std::string& text) const {
    const std::string path = keys_.Write(name, text);
    chmod(path.c_str(), 0600);
    return path;
  }
  /// NAME.key with a pair of keys of its own; the public one.
  std::string MakeCurveKeys(const std::string& name) const {
    char open[41], secret[41];
    PORTICO_CHECK(zmq_curve_keypair(open, secret) == 0);
    Write(name + ".key", absl::StrCat(open, "\n", secret, "\n"));
    return open;
  }
  std::string WriteMesh(const std::string& back_keys, const std::string& front_keys) const {
    return folder_.WriteMesh(
        absl::StrCat("mesh: m\nmodels: {leaf: {path: packages/leaf}, head: {path: packages/head}}\nnodes:\n"
                     "  back:\n    serve: [leaf]\n    peer: ",
                     peer_, "\n    security: {", back_keys, "}\n  front:\n    serve: [head]\n    grpc: 0\n",
                     "    http: 0\n    http_threads: 2\n    security: {", front_keys, "}\n"));
  }
  std::vector<std::string> UpArguments(const std::string& mesh) const {
    return {"up", mesh, "--run-folder", folder_.path() + "/run"};
  }
  std::string FrontAddress() const {
    const auto status = ReadNodeStatus(folder_.path() + "/run/status/front-0.json");
    EXPECT_TRUE(status.ok()) << status.status();
    return status.ok() ? status->grpc : "";
  }
  void ExpectAnswer() const {
    PredictClient client(FrontAddress());
    const auto outputs = client.Predict("head", {{"x", Tensor::Of<float>({1, 2}, {3, -4})}});
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    EXPECT_EQ(outputs->at("y").data<float>()[0], 3);
  }
  /// What a call of the back node says to who has no keys.
  static absl::Status CallWithoutKeys(Transport& transport, const std::string& endpoint) {
    Arrival<absl::Status> status;
    const auto channel = *transport.Connect(endpoint, {});
    channel->Call(PeerHeader(), {}, Deadline::In(absl::Seconds(2), Clock::Real()),
                  [&](absl::StatusOr<PeerMessage> reply) { status.Set(reply.status()); });
    return status.WaitFor(1) ? status.Take().front() : absl::OkStatus();
  }

  const MeshFolder folder_;
  const TempFolder keys_;
  const HeldPort port_;
  std::string peer_;
};

TEST_F(MeshKeysTest, NodesReachEachOtherByCurveAndStrangersDoNot) {
  peer_ = absl::StrCat("zmq+tcp://127.0.0.1:", port_.number());
  const std::string back = MakeCurveKeys("back"), front = MakeCurveKeys("front");
  Write("back.pub", back);
  Write("nodes.pub", absl::StrCat(back, "\n", front, "\n"));
  const std::string folder = keys_.path() + "/";
  PorticoCommand up(
      UpArguments(WriteMesh(absl::StrCat("curve_key: ", folder, "back.key, curve_allow: ", folder, "nodes.pub"),
                            absl::StrCat("curve_key: ", folder, "front.key, curve_allow: ", folder,
                                         "nodes.pub, curve_server_key: ", folder, "back.pub"))));
  ASSERT_TRUE(up.WaitForOutput("mesh 'm' is ready")) << up.output();
  ExpectAnswer();
  const auto transport = NewZmqTransport({}, Clock::Real());
  EXPECT_FALSE(CallWithoutKeys(*transport, peer_).ok());
  // Keys that change are read by a process of their own; who is not on the list is not let in.
  Write("strangers.pub", MakeCurveKeys("stranger"));
  WriteMesh(absl::StrCat("curve_key: ", folder, "back.key, curve_allow: ", folder, "strangers.pub"),
            absl::StrCat("curve_key: ", folder, "front.key, curve_allow: ", folder,
                         "nodes.pub, curve_server_key: ", folder, "back.pub"));
  ASSERT_TRUE(up.WaitForOutput("back/0 is ready")) << up.output();
  PredictClient client(FrontAddress());
  const auto refused = client.Predict("head", {{"x", Tensor::Of<float>({1, 2}, {3, -4})}}, absl::Seconds(3));
  EXPECT_FALSE(refused.ok());
}

TEST_F(MeshKeysTest, NodesReachEachOtherByTls) {
  peer_ = absl::StrCat("tcp://127.0.0.1:", port_.number());
  const Identity identity = Identity::Make("IP:127.0.0.1");
  const std::string keys =
      absl::StrCat("tls_key: ", Write("key", identity.key), ", tls_cert: ", Write("cert", identity.certificate),
                   ", tls_allow: ", Write("allow", identity.certificate));
  PorticoCommand up(UpArguments(WriteMesh(keys, keys)));
  ASSERT_TRUE(up.WaitForOutput("mesh 'm' is ready")) << up.output();
  ExpectAnswer();
  const auto transport = NewStreamTransport({}, Clock::Real());
  EXPECT_FALSE(CallWithoutKeys(*transport, peer_).ok());
}

}  // namespace
}  // namespace portico
