// A product that calls a module that calls a module, each in a process of its own, cut by `portico share`, published
// and named by handles.

#include <signal.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/http_client.h"
#include "cli/tfs_client.h"
#include "cli/trace_document.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/runtime/session.h"
#include "models/split/submodel.h"
#include "tests/integration/portico_command.h"
#include "tests/models/share/share_fixture.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class NestedModulesTest : public ::testing::Test {
 protected:
  NestedModulesTest() {
    setenv("XDG_CACHE_HOME", (folder_.path() + "/cache").c_str(), 1);
    // Two towers of two layers, and one that has the first of these alone.
    WriteTower("a", 2, 5);
    WriteTower("b", 2, 6);
    WriteTower("c", 1, 7);
    const std::string first = folder_.path() + "/first";
    for (const char* product : {"a", "b"}) {
      Run({"share", File(absl::StrCat(product, ".onnx")), File("c.onnx"), "--min-bytes", "1", "--name", "acme/inner",
           "--out", first});
    }
    // What they call is found beside them.
    const std::string outer = Run({"share", first + "/a/1/model.onnx", first + "/b/1/model.onnx", "--min-bytes", "1",
                                   "--name", "acme/outer", "--out", folder_.path() + "/second"});
    EXPECT_THAT(outer, AllOf(HasSubstr("verified: a, 3 runs equal"), HasSubstr("verified: b, 3 runs equal"),
                             HasSubstr("  acme/inner: {path: \"" + first + "/acme/inner\", versions: [1]}\n"),
                             HasSubstr("  hub: {serve: [acme/outer, acme/inner]}")));
  }
  ~NestedModulesTest() override { unsetenv("XDG_CACHE_HOME"); }

  static std::string Run(std::vector<std::string> arguments) {
    const CommandResult result = RunPortico(std::move(arguments));
    EXPECT_EQ(result.end, "exit status 0") << result.output;
    return result.output;
  }
  std::string File(const std::string& name) const { return folder_.path() + "/" + name; }
  std::string store() const { return File("store"); }

  void WriteTower(const std::string& name, int height, float head) {
    Layers layers(name + "/");
    std::string h = layers.Input("x", 8);
    for (int i = 0; i < height; ++i) h = layers.Dense(h, 8, 8, -0.05f * static_cast<float>(i + 1));
    layers.Output(layers.Dense(h, 8, 3, head), 3);
    layers.model.WriteTo(folder_.File(name + ".onnx"));
  }

  std::string PublishInner() {
    return Run({"hub", "publish", File("first/acme/inner/1"), "acme/inner/1", "--store", store()});
  }
  std::string PublishOuter() {
    return Run({"hub", "publish", File("second/acme/outer/1"), "acme/outer/1", "--store", store()});
  }

  std::string WriteMesh(const std::string& inner, const std::string& serve_inner) {
    return folder_.Write(
        "mesh.yaml",
        absl::StrCat("mesh: nested\nhub: store\nmodels:\n  acme/outer/1: {}\n", inner,
                     "  a: {path: second/a}\n  b: {path: second/b}\n  c: {path: first/c}\nnodes:\n", serve_inner,
                     "  outer: {serve: [acme/outer/1], http: 0}\n", "  apps: {serve: [a, b, c], grpc: 0, http: 0}\n"));
  }
  NodeStatus StatusOf(const std::string& node) const {
    return ReadNodeStatus(absl::StrCat(folder_.path(), "/run/status/", node, "-0.json")).value_or(NodeStatus());
  }

  /// What NAME.onnx answers, run in this process.
  Tensor Want(const std::string& name, const Tensor& x) const {
    WeightStore store;
    const auto model = Model::Load(File(name + ".onnx"), store);
    PORTICO_CHECK(model.ok());
    auto runnable = MakeRunnable(*model, {});
    PORTICO_CHECK(runnable.ok());
    const auto session = Session::Create(runnable->proto, std::move(runnable->weights), {});
    PORTICO_CHECK(session.ok());
    const auto outputs = (*session)->Run({x});
    PORTICO_CHECK(outputs.ok());
    return (*outputs)[0];
  }

  const TempFolder folder_;
};

/// "apps model" of `of` and what it caused but for queues and batches, two blanks per level.
void Outline(const TraceDocument& trace, size_t of, const std::string& indent, std::vector<std::string>* lines) {
  const TraceSpan& span = trace.spans[of];
  const std::vector<std::string> words = absl::StrSplit(span.name, ' ');
  if (words[0] == "segment") return;
  lines->push_back(absl::StrCat(indent, *absl::StrSplit(span.node, '/').begin(), " ", words[0]));
  for (const size_t child : span.caused) Outline(trace, child, indent + "  ", lines);
}

/// A signal reaches one thread after the other.
void WaitUntilStopped(int64_t pid) {
  for (const auto& task : std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/task"))) {
    std::string stat;
    do {
      std::getline(std::ifstream(task.path() / "stat"), stat);
    } while (!stat.empty() && stat.find(") T ") == std::string::npos);
  }
}

TEST_F(NestedModulesTest, AnswersAreThoseOfTheModelsAndDeadlinesAndTracesGoThroughBothHops) {
  EXPECT_THAT(PublishOuter(), AllOf(HasSubstr("it calls 'acme/inner' of digest "), HasSubstr("not in this store")));
  EXPECT_THAT(PublishInner(), Not(HasSubstr("it calls")));
  EXPECT_THAT(PublishOuter(), Not(HasSubstr("it calls")));

  // The mesh file forgets the inner one: it was pulled with the outer one, and the error has its handle.
  PorticoCommand without({"up", WriteMesh("", ""), "--run-folder", File("run")});
  EXPECT_EQ(without.WaitForEnd(), "exit status 1");
  EXPECT_THAT(
      without.output(),
      AllOf(HasSubstr("pulled acme/inner/1, which acme/outer/1 needs"), HasSubstr("mesh.yaml:4: model 'acme/outer'"),
            HasSubstr("it is the hub module 'acme/inner/1'"), HasSubstr("add 'acme/inner/1: {}' to 'models'")));

  PorticoCommand up(
      {"up", WriteMesh("  acme/inner/1: {}\n", "  inner: {serve: [acme/inner/1]}\n"), "--run-folder", File("run")});
  ASSERT_TRUE(up.WaitForOutput("mesh 'nested' is ready")) << up.output();
  const NodeStatus apps = StatusOf("apps"), outer = StatusOf("outer"), inner = StatusOf("inner");
  ASSERT_GT(apps.pid, 0);
  EXPECT_NE(apps.pid, outer.pid);
  EXPECT_NE(outer.pid, inner.pid);

  TfsClient client(apps.grpc);
  const Tensor x = Numbers({5, 8}, -0.4f);
  for (const std::string name : {"a", "b", "c"}) {
    const auto got = client.Predict(name, "", {{name + "/x", x}}, {});
    ASSERT_TRUE(got.ok()) << got.status();
    ASSERT_EQ(got->outputs.size(), 1u);
    const Tensor want = Want(name, x);
    EXPECT_EQ(got->outputs[0].tensor.shape(), want.shape());
    EXPECT_EQ(got->outputs[0].tensor.bytes(), want.bytes()) << name;
  }

  const TraceContext asked = {.trace_id_high = 0xabc, .trace_id_low = 0x123, .parent_span_id = 7, .sampled = true};
  TfsClient::CallOptions traced;
  traced.trace = asked;
  ASSERT_TRUE(client.Predict("a", "", {{"a/x", x}}, traced).ok());
  traced.trace.trace_id_low = 0x124;
  ASSERT_TRUE(client.Predict("c", "", {{"c/x", x}}, traced).ok());
  const auto outline = [&](const TraceContext& trace) {
    std::vector<std::string> lines;
    const auto traces =
        ParseTraces(Run({"trace", "--run-folder", File("run"), "--trace-id", TraceIdHex(trace), "--format", "json"}));
    EXPECT_TRUE(traces.ok()) << traces.status();
    if (traces.ok() && traces->size() == 1) Outline(traces->front(), 0, "", &lines);
    return lines;
  };
  EXPECT_THAT(outline(asked), ElementsAre("apps request", "  apps model", "    apps portal", "      outer model",
                                          "        outer portal", "          inner model"));
  // One product uses the inner module directly, too.
  EXPECT_THAT(outline(traced.trace),
              ElementsAre("apps request", "  apps model", "    apps portal", "      inner model"));

  // The innermost hangs: both hops give up at the same moment, so either's word may be the first.
  ASSERT_EQ(kill(static_cast<pid_t>(inner.pid), SIGSTOP), 0);
  WaitUntilStopped(inner.pid);
  HttpCall brief;
  brief.target = "/v2/models/a/infer";
  brief.body = R"({"parameters": {"timeout": 300000}, "inputs": [{"name": "a/x", "datatype": "FP32", "shape": [1, 8],
                   "data": [1, 2, 3, 4, 5, 6, 7, 8]}]})";
  const auto late = CallHttp(apps.http, brief);
  kill(static_cast<pid_t>(inner.pid), SIGCONT);
  ASSERT_TRUE(late.ok()) << late.status();
  EXPECT_EQ(late->code, 504);
  EXPECT_THAT(late->body, AllOf(HasSubstr("portal to 'acme/outer'"), HasSubstr("within the call's deadline")));
}

TEST_F(NestedModulesTest, PullsWhatAModuleCalls) {
  PublishOuter();
  EXPECT_THAT(Run({"hub", "pull", "acme/outer/1", "--store", store()}),
              AllOf(HasSubstr("acme/outer/1 pulled and checked"), HasSubstr("not pulled: 'acme/inner' of digest "),
                    HasSubstr("which acme/outer/1 calls")));
  PublishInner();
  EXPECT_THAT(Run({"hub", "pull", "acme/outer/1", "--store", store()}),
              AllOf(HasSubstr("acme/outer/1 is in the cache"), HasSubstr("acme/inner/1 pulled and checked")));
  EXPECT_THAT(Run({"hub", "pull", "acme/outer/1", "--store", store()}), HasSubstr("acme/inner/1 is in the cache"));
  // What a module that is used calls is used.
  const std::string mesh =
      folder_.Write("gc.yaml", "mesh: m\nmodels:\n  a: {path: second/a}\nnodes:\n  n: {serve: [a]}\n");
  EXPECT_THAT(Run({"hub", "gc", "--mesh", mesh, "--dry-run"}),
              AllOf(HasSubstr("keeps acme/inner/1"), Not(HasSubstr("would remove"))));
}

TEST_F(NestedModulesTest, AModuleThatSharesBecomesAnotherAndItsCallersAreNamed) {
  // acme/whole, of two layers, is what a and b call; it shares the first layer with c.
  Run({"share", File("a.onnx"), File("b.onnx"), "--min-bytes", "1", "--name", "acme/whole", "--out", File("packages")});
  const std::string packages = File("packages");
  const std::string shared =
      Run({"share", packages + "/a/1/model.onnx", packages + "/b/1/model.onnx", packages + "/acme/whole/1/model.onnx",
           File("c.onnx"), "--min-bytes", "1", "--name", "acme/stem", "--out", packages, "--version", "2"});
  EXPECT_THAT(shared, AllOf(HasSubstr("acme/stem in acme/whole: "), HasSubstr("acme/stem in c: "),
                            HasSubstr("verified: acme/whole, 3 runs equal"),
                            HasSubstr("note: a, b call acme/whole by digest "), HasSubstr("acme/whole/2 being free")));
  EXPECT_TRUE(std::filesystem::exists(packages + "/acme/whole/2/model.onnx"));
  EXPECT_THAT(Run({"inspect", packages + "/acme/whole/2"}), HasSubstr("(Remote) to acme/stem"));
  // The next free version is said where one is taken.
  const CommandResult taken =
      RunPortico({"share", "acme/whole=" + packages + "/acme/whole/1/model.onnx", File("c.onnx"), "--min-bytes", "1",
                  "--name", "acme/stem", "--out", packages, "--version", "1"});
  EXPECT_EQ(taken.end, "exit status 1");
  EXPECT_THAT(taken.output, AllOf(HasSubstr("acme/whole/1'"), HasSubstr("choose another --version: 3 is free")));
}

}  // namespace
}  // namespace portico
