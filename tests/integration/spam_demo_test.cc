// `make demo EXAMPLE=spam ONCE=1`, as a test: a cascade of two text models on two nodes, every held-out mail over gRPC,
// compared with the same models run by plain code.

#include <regex>
#include <string>
#include <vector>

#include "base/file.h"
#include "cli/http_client.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/example_demo.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

/// Accuracy, percent of mails at the full model, CPU.
enum { kAccuracy, kAtFull, kCpu };

TEST(SpamDemo, TheCascadeIsAsGoodAsTheFullModelAndAsksItSeldom) {
  const CommandResult demo = RunDemo("spam", ExampleFolder("spam"));
  ASSERT_EQ(demo.end, "exit status 0") << demo.output;
  const std::vector<double> trigger = DemoFigures(demo.output, "spam-trigger"),
                            full = DemoFigures(demo.output, "spam-full"), cascade = DemoFigures(demo.output, "spam"),
                            mean = DemoFigures(demo.output, "spam-mean"),
                            best = DemoFigures(demo.output, "best possible");
  for (const auto& figures : {trigger, full, cascade, mean}) ASSERT_THAT(figures, SizeIs(3)) << demo.output;
  ASSERT_THAT(best, SizeIs(1)) << demo.output;
  // Both models are needed, and neither can be always right.
  EXPECT_LE(trigger[kAccuracy], full[kAccuracy] - 0.02);
  EXPECT_LE(full[kAccuracy], best[kAccuracy]);
  EXPECT_LT(best[kAccuracy], 0.99);
  EXPECT_GE(cascade[kAccuracy], full[kAccuracy] - 0.005);
  EXPECT_GT(cascade[kAtFull], 10);
  EXPECT_LT(cascade[kAtFull], 50);
  EXPECT_THAT(demo.output, HasSubstr("Every answer of the mesh is that of the same models"));
}

TEST(SpamDemo, AnotherConditionThanTheReferencesMakesItFail) {
  TempFolder folder;
  CopyExample("spam", folder.path());
  auto mesh = ReadFile(folder.File("mesh.yaml"), 1 << 20);
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  ASSERT_THAT(*mesh, HasSubstr("score < 0.9"));
  ASSERT_TRUE(
      WriteFileAtomically(folder.File("mesh.yaml"), std::regex_replace(*mesh, std::regex("score < 0.9"), "score < 0.5"))
          .ok());
  const CommandResult demo = RunDemo("spam", folder.path());
  EXPECT_EQ(demo.end, "exit status 1") << demo.output;
  EXPECT_THAT(demo.output, HasSubstr("portico_spam_demo: spam: number "));
}

TEST(SpamDemo, TextGoesInOverRestAndTheOrderOfItsWordsCounts) {
  TempFolder folder;
  CopyExample("spam", folder.path());
  auto mesh = ReadFile(folder.File("mesh.yaml"), 1 << 20);
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  *mesh = std::regex_replace(*mesh, std::regex("(grpc|http): [0-9]+"), "$1: 0");
  ASSERT_TRUE(WriteFileAtomically(folder.File("mesh.yaml"), *mesh).ok());
  PorticoCommand up({"up", folder.File("mesh.yaml"), "--run-folder", folder.path() + "/run"});
  ASSERT_TRUE(up.WaitForOutput("mesh 'mail' is ready")) << up.output();
  const auto front = ReadNodeStatus(folder.path() + "/run/status/front-0.json");
  ASSERT_TRUE(front.ok()) << front.status();
  HttpCall call;
  call.target = "/v1/models/spam:predict";
  // The same words; a rule; nothing at all.
  call.body = R"({"instances": [
    {"sender": "desk@post.example", "text": "You will send the bank the code today."},
    {"sender": "desk@post.example", "text": "The bank will send you the code today."},
    {"sender": "ana@northwind.example", "text": "You have won a prize!"},
    {"sender": "", "text": ""}]})";
  auto answer = CallHttp(front->http, call);
  ASSERT_TRUE(answer.ok()) << answer.status();
  std::smatch said;
  const std::string row = R"(\{"score":([^,]*),"row_status":([012])\},?)";
  ASSERT_TRUE(std::regex_search(answer->body, said, std::regex(row + row + row + row))) << answer->body;
  EXPECT_GT(std::stod(said[1]), 0.9);
  EXPECT_LT(std::stod(said[3]), 0.1);
  EXPECT_EQ(said[2], "1");
  EXPECT_EQ(said[4], "1");
  EXPECT_EQ(said[5], "0.01");
  EXPECT_EQ(said[6], "0");
  call.body = R"({"inputs": {"sender": [], "text": []}})";
  answer = CallHttp(front->http, call);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(answer->body, HasSubstr(R"("score":[],"row_status":[])"));
}

TEST(SpamDemo, ALineThatIsNoMailIsNamed) {
  TempFolder folder;
  CopyExample("spam", folder.path());
  ASSERT_TRUE(WriteFileAtomically(folder.File("heldout.tsv"), "1\t2.5\ta@b\thi\n1\tmuch\ta@b\thi\n").ok());
  const CommandResult demo = RunDemo("spam", folder.path());
  EXPECT_EQ(demo.end, "exit status 1") << demo.output;
  EXPECT_THAT(demo.output, HasSubstr("heldout.tsv:2: got '1\tmuch"));
}

}  // namespace
}  // namespace portico
