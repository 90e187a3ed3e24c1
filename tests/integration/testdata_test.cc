// The onnx project's own test models, each served by real nodes and called over gRPC: whole, and cut in two with the
// front part on another node. Whatever ONNX Runtime runs must pass; testdata/passes.txt says what that is, so that
// nothing drops out unseen. PORTICO_UPDATE_TESTDATA=1 rewrites the list.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "models/package/model.h"
#include "models/runtime/session.h"
#include "models/split/split.h"
#include "onnx/onnx_pb.h"
#include "tests/integration/middle_cut.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/onnx_testdata.h"
#include "tests/integration/tensor_difference.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

constexpr char kPasses[] = PORTICO_SOURCE_DIR "/tests/integration/testdata/passes.txt";
/// Models one node serves at a time.
constexpr size_t kBatch = 256;

using Cases = std::vector<const OnnxCase*>;

/// The name a case is served under.
std::string ServedName(const OnnxCase& test) { return absl::StrReplaceAll(test.name, {{"/", "."}}); }

/// What ONNX Runtime says of a case by itself: empty when it gives the expected outputs.
std::string JudgedByOnnxRuntime(const OnnxCase& test) {
  Session::Options options;
  options.name = test.name;
  auto session = Session::Create(test.model->SerializeAsString(), {}, options);
  if (!session.ok()) return "onnxruntime does not load it";
  const auto outputs = (*session)->Run(test.InputTensors());
  if (!outputs.ok()) return "onnxruntime does not run it";
  if (outputs->size() != test.outputs.size()) return "onnxruntime gives another number of outputs";
  for (size_t i = 0; i < outputs->size(); ++i) {
    if (!Difference((*outputs)[i], test.outputs[i].tensor).empty()) return "onnxruntime gives other outputs";
  }
  return "";
}

/// Empty when `model`, asked over `client`, gives the expected outputs of the case.
std::string Ask(PredictClient& client, const std::string& model, const OnnxCase& test) {
  const absl::StatusOr<Outputs> outputs = client.Predict(model, test.inputs);
  if (!outputs.ok()) return outputs.status().ToString();
  if (outputs->size() != test.outputs.size()) {
    return absl::StrCat("got ", outputs->size(), " outputs, want ", test.outputs.size());
  }
  for (const NamedTensor& want : test.outputs) {
    const auto got = outputs->find(want.name);
    if (got == outputs->end()) return absl::StrCat("output '", want.name, "' is missing");
    if (const std::string difference = Difference(got->second, want.tensor); !difference.empty()) {
      return absl::StrCat("output '", want.name, "': ", difference);
    }
  }
  return "";
}

/// Collects lines of passes.txt and failures.
class Tally {
 public:
  void Skip(const OnnxCase& test, const std::string& reason) {
    lines_.push_back(absl::StrCat(test.name, " skip ", reason));
  }
  /// `problem` empty: passed.
  void Count(const OnnxCase& test, const std::string& how, const std::string& problem) {
    if (problem.empty()) {
      lines_.push_back(absl::StrCat(test.name, " ", how));
    } else {
      ADD_FAILURE() << test.name << ", " << how << ": " << problem;
    }
  }
  /// Sorted.
  std::vector<std::string> Lines() {
    std::sort(lines_.begin(), lines_.end());
    return lines_;
  }

 private:
  std::vector<std::string> lines_;
};

void ServeWhole(absl::Span<const OnnxCase* const> cases, Tally& tally) {
  const TempFolder folder;
  Node::Options options = LocalNode("whole", {});
  for (const OnnxCase* test : cases) {
    const std::string name = ServedName(*test);
    std::filesystem::copy_file(test->model_path, folder.File(name + "/1/model.onnx"));
    options.models.push_back({name, folder.File(name)});
  }
  const std::unique_ptr<Node> node = StartNode(std::move(options));
  PredictClient client(node->grpc_address());
  for (const OnnxCase* test : cases) tally.Count(*test, "served", Ask(client, ServedName(*test), *test));
  node->Stop();
}

/// Cuts the case near its middle, compares the halves with the whole on the case's inputs, and writes them below
/// `out` as NAME and part/NAME.
absl::Status CutInTwo(const OnnxCase& test, const std::string& out) {
  WeightStore store;
  ASSIGN_OR_RETURN(const Model model, Model::Load(test.model_path, store));
  const std::string name = ServedName(test);
  VerifyOptions options;
  options.samples.push_back({test.name, test.InputTensors()});
  absl::Status refused = absl::InvalidArgumentError("no way to cut");
  for (const SplitPlan& plan : MiddleCuts(model.proto().graph(), name, "part/" + name)) {
    absl::StatusOr<std::vector<SplitModel>> split = Split(model, plan);
    if (!split.ok()) {  // a cut at what is not a dense tensor, say
      refused = split.status();
      continue;
    }
    RETURN_IF_ERROR(VerifySplit(model, *split, options).status());
    return WriteSplit(*split, out, 1);
  }
  return refused;
}

void ServeCut(absl::Span<const OnnxCase* const> cases, Tally& tally) {
  const TempFolder folder;
  Node::Options parts = LocalNode("parts", {});
  Node::Options products = LocalNode("products", {});
  Cases cut;
  for (const OnnxCase* test : cases) {
    if (const absl::Status status = CutInTwo(*test, folder.path()); !status.ok()) {
      tally.Count(*test, "cut", status.ToString());
      continue;
    }
    const std::string name = ServedName(*test);
    parts.models.push_back({"part/" + name, folder.File("part/" + name)});
    products.models.push_back({name, folder.File(name)});
    cut.push_back(test);
  }
  const std::unique_ptr<Node> behind = StartNode(std::move(parts));
  for (const OnnxCase* test : cut) products.peers["part/" + ServedName(*test)] = {behind->peer_endpoint()};
  const std::unique_ptr<Node> front = StartNode(std::move(products));
  PredictClient client(front->grpc_address());
  for (const OnnxCase* test : cut) tally.Count(*test, "cut", Ask(client, ServedName(*test), *test));
  front->Stop();
  behind->Stop();
}

/// "node/test_abs" of "node/test_abs served".
std::string NameOf(const std::string& line) { return line.substr(0, line.find(' ')); }
bool IsSkip(const std::string& line) { return absl::StrContains(line, " skip "); }

/// How what happened departs from the list. A model that is listed as skipped may pass: ONNX Runtime runs some only
/// where the machine has a locale, say.
std::string Departures(const std::vector<std::string>& listed, const std::vector<std::string>& happened) {
  std::set<std::string> skippable;
  for (const std::string& line : listed) {
    if (IsSkip(line)) skippable.insert(NameOf(line));
  }
  std::string departures;
  const std::set<std::string> list(listed.begin(), listed.end());
  const std::set<std::string> done(happened.begin(), happened.end());
  for (const std::string& line : list) {
    const bool missing = !IsSkip(line) && done.count(line) == 0;
    if (missing) absl::StrAppend(&departures, "listed, but did not happen: ", line, "\n");
  }
  for (const std::string& line : done) {
    const bool allowed = list.count(line) != 0 || (!IsSkip(line) && skippable.count(NameOf(line)) != 0);
    if (!allowed) absl::StrAppend(&departures, "not listed: ", line, "\n");
  }
  return departures;
}

TEST(OnnxTestdata, WhatOnnxRuntimeRunsIsServedWholeAndCut) {
  const absl::StatusOr<std::vector<OnnxCase>> all = ReadOnnxCases(OnnxTestdataFolder());
  ASSERT_TRUE(all.ok()) << all.status();
  Tally tally;
  Cases whole, cut;
  for (const OnnxCase& test : *all) {
    if (const std::string reason = test.skip.empty() ? JudgedByOnnxRuntime(test) : test.skip; !reason.empty()) {
      tally.Skip(test, reason);
      continue;
    }
    whole.push_back(&test);
    if (test.model->graph().node_size() < 2) continue;
    if (MiddleCuts(test.model->graph(), "product", "part").empty()) {
      tally.Skip(test, "cut, depends on no input");
    } else {
      cut.push_back(&test);
    }
  }
  for (size_t i = 0; i < whole.size(); i += kBatch) ServeWhole(absl::MakeConstSpan(whole).subspan(i, kBatch), tally);
  for (size_t i = 0; i < cut.size(); i += kBatch) ServeCut(absl::MakeConstSpan(cut).subspan(i, kBatch), tally);

  const std::vector<std::string> lines = tally.Lines();
  std::cout << all->size() << " models: " << whole.size() << " run by ONNX Runtime, " << cut.size()
            << " of them with two nodes or more\n";
  if (std::getenv("PORTICO_UPDATE_TESTDATA") != nullptr) {
    const absl::Status written = WriteFileAtomically(kPasses, absl::StrCat(absl::StrJoin(lines, "\n"), "\n"));
    ASSERT_TRUE(written.ok()) << written;
    return;
  }
  const absl::StatusOr<std::string> file = ReadFile(kPasses, 1 << 20);
  ASSERT_TRUE(file.ok()) << file.status();
  const std::vector<std::string> listed = absl::StrSplit(*file, '\n', absl::SkipEmpty());
  EXPECT_EQ(Departures(listed, lines), "") << "PORTICO_UPDATE_TESTDATA=1 rewrites the list";
}

}  // namespace
}  // namespace portico
