// What a node makes of files where it listens on Unix sockets.

#include <signal.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/integration/serving_process.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

class SocketFilesTest : public ::testing::TestWithParam<const char*> {};

TEST_P(SocketFilesTest, ANodeThatIsToldToStopLeavesNoneBehind) {
  const TempFolder models, sockets;
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2}).Node("Abs", {"x"}, {"y"});
  model.WriteTo(models.File("m/1/model.onnx"));
  const std::string peer = sockets.File("peer"), grpc = sockets.File("grpc");
  ServingProcess node({"--model", absl::StrCat("m=", models.path(), "/m"), "--peer", absl::StrCat(GetParam(), peer),
                       "--grpc_socket_path", grpc});
  EXPECT_TRUE(std::filesystem::is_socket(peer));
  EXPECT_TRUE(std::filesystem::is_socket(grpc));
  kill(node.pid(), SIGTERM);
  EXPECT_EQ(node.WaitForEnd(), "exit status 0");
  EXPECT_TRUE(std::filesystem::is_empty(sockets.path()));
}

INSTANTIATE_TEST_SUITE_P(All, SocketFilesTest, ::testing::Values("unix://", "shm://", "zmq+ipc://"),
                         [](const auto& info) { return absl::StrCat("Scheme", info.index); });

}  // namespace
}  // namespace portico
