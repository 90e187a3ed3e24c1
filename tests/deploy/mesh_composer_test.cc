#include "deploy/mesh_composer.h"

#include <csignal>
#include <filesystem>

#include "deploy/composition_reader.h"
#include "deploy/mesh.h"
#include "deploy/signal_fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/mesh_fixture.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class MeshComposerTest : public ::testing::Test {
 protected:
  MeshComposerTest() {
    folder_.WritePlain("first");
    folder_.WritePlain("second", "Abs");
  }

  /// A mesh with first, second and `models` (from line 5 on), all served.
  std::string Mesh(absl::string_view models, absl::string_view serve) const {
    return absl::StrCat("mesh: m\nmodels:\n  first: {path: packages/first}\n  second: {path: packages/second}\n",
                        models, "nodes:\n  n: {serve: [first, second, ", serve, "]}\n");
  }
  absl::StatusOr<MeshFile> Read(absl::string_view models, absl::string_view serve) {
    return ReadMeshFile(folder_.WriteMesh(Mesh(models, serve)), &packages_, folder_.File("run/composed"));
  }
  /// "mesh.yaml:3: ...".
  std::string ErrorOf(absl::string_view models) {
    const auto mesh = Read(models, "made");
    EXPECT_EQ(mesh.status().code(), absl::StatusCode::kInvalidArgument) << models;
    const std::string message(mesh.status().message());
    return message.substr(std::min(folder_.path().size() + 1, message.size()));
  }
  bool Exists(absl::string_view name) const { return std::filesystem::exists(folder_.File(name)); }

  /// ONNX Runtime's thread, which lives on, is to take no signal that a supervisor's test waits for.
  SignalFd signals_{SIGINT, SIGTERM, SIGHUP, SIGCHLD};
  MeshFolder folder_;
  PackageReader packages_;
};

constexpr char kSequence[] = "  made: {sequence: [{model: first, outputs: {y: x}}, {model: second, inline: true}]}\n";

TEST_F(MeshComposerTest, MakesAVersionWhereContentIsNew) {
  auto mesh = Read(kSequence, "made");
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  const Revision::Model* made = mesh->revision.FindModel("made");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(made->path, folder_.File("run/composed/made"));
  ASSERT_EQ(made->pins.size(), 1u);
  EXPECT_EQ(made->pins[0].version, 1);
  EXPECT_TRUE(Exists("run/composed/made/1/model.onnx"));
  const Digest first = made->pins[0].digest;

  // Read again, by somebody who remembers nothing: nothing is new.
  packages_ = PackageReader();
  mesh = Read(kSequence, "made");
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  EXPECT_EQ(mesh->revision.FindModel("made")->pins[0].version, 1);
  EXPECT_FALSE(Exists("run/composed/made/2"));

  // A member that is called stays the revision's business; one that is copied is part of it.
  folder_.WritePlain("first", "Neg");
  packages_ = PackageReader();
  mesh = Read(kSequence, "made");
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  EXPECT_FALSE(Exists("run/composed/made/2"));
  folder_.WritePlain("second", "Neg");
  packages_ = PackageReader();
  mesh = Read(kSequence, "made");
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  made = mesh->revision.FindModel("made");
  EXPECT_EQ(made->pins[0].version, 2);
  EXPECT_NE(made->pins[0].digest, first);
  EXPECT_TRUE(Exists("run/composed/made/1/model.onnx"));

  // What the file says counts too.
  mesh = Read("  made: {ensemble: {models: [first, second], combine: concat}}\n", "made");
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  EXPECT_EQ(mesh->revision.FindModel("made")->pins[0].version, 3);
}

TEST_F(MeshComposerTest, CompositionsOfCompositions) {
  const auto mesh = Read(
      "  pub/outer: {sequence: [{model: inner, inline: true, outputs: {y: x}}, inner]}\n"
      "  inner: {ensemble: {models: [first, {model: second, inline: true}]}}\n",
      "inner, pub/outer");
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  EXPECT_TRUE(Exists("run/composed/pub/outer/1/model.onnx"));
  EXPECT_TRUE(Exists("run/composed/inner/1/model.onnx"));
  EXPECT_EQ(ErrorOf("  made: {sequence: [first, {model: other, inputs: {x: y}}]}\n  other: {sequence: [made]}\n"),
            "mesh.yaml:5: model 'made': got a model that is made of itself, through others or not, want none");
}

TEST_F(MeshComposerTest, ComposesOnRequest) {
  const std::string path = folder_.WriteMesh(
      "models:\n  first: {path: packages/first}\n"
      "  made: {sequence: [first]}\n  more: {sequence: [made]}\n");
  auto made = ComposeModels(path, "more");
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_EQ(made->size(), 1u);
  EXPECT_EQ((*made)[0]->package.name, "more");
  made = ComposeModels(path, "");
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->size(), 2u);
  EXPECT_THAT(
      ComposeModels(path, "first").status().message(),
      HasSubstr("mesh.yaml:1: models: got no composition 'first', want a model with cascade, experts, sequence or "
                "ensemble"));
}

TEST_F(MeshComposerTest, ReadsAllThatCanBeSaid) {
  const YamlNode root = *ParseYaml(R"(
cascade:
  stages:
    - {model: trigger, signature: s, inline: false, inputs: {a: b}, outputs: {c: d}}
    - {model: full, when: "score > 0.5", pin: true, shared: [table], by: "score", brown_out: {max_shed: 40%}}
  audit: {share: 0.5%, max_in_flight: 2, timeout: 500ms, outputs: [score], tolerance: 0.01}
  expected: {escalated: 12%, agreement: 99.5%, escalated_within: 3%, agreement_within: 0.5%, over: 5m}
  brown_out: {max_shed: 50%, slower_than: 20ms}
  on_row_error: cheap
  row_status: true
  outputs: [score]
)",
                                   "mesh.yaml");
  MeshComposer composer("mesh.yaml", packages_);
  ASSERT_TRUE(composer.Read("spam", root).ok());
  EXPECT_TRUE(composer.Has("spam"));
  const YamlNode experts = *ParseYaml(R"(
experts: {gate: {model: g, inline: false}, gate_output: gate, experts: [a, b, c], k: 2, k_min: 1, k_min_after: 20ms,
          weights: renormalize, on_expert_error: fail, capacity: 1.25, on_row_error: fail, row_status: true, outputs: [p],
          signature: s, pin: true, inputs: {a: b}}
)",
                                      "mesh.yaml");
  EXPECT_TRUE(composer.Read("breeds", experts).ok());
}

TEST_F(MeshComposerTest, WhatIsExpectedOfAGate) {
  const auto read = [](const std::string& expected) {
    const YamlNode root = *ParseYaml("experts: {gate: g, experts: [a, b], expected: {" + expected + "}}", "mesh.yaml");
    return ReadComposition("made", root, "mesh.yaml");
  };
  const auto composition = read("load: [30%, 70%], load_within: 5%, entropy: 40%, entropy_within: 10%, over: 5m");
  ASSERT_TRUE(composition.ok()) << composition.status();
  const ExpertsWatch& watch = composition->experts.watch;
  EXPECT_THAT(watch.load, ::testing::ElementsAre(0.3f, 0.7f));
  EXPECT_EQ(watch.load_within, 0.05);
  EXPECT_EQ(watch.entropy, 0.4);
  EXPECT_EQ(watch.entropy_within, 0.1);
  EXPECT_EQ(watch.over, absl::Minutes(5));
  const auto error = [&](const std::string& expected) { return std::string(read(expected).status().message()); };
  EXPECT_EQ(error("load: [30%, 30%, 40%]"),
            "mesh.yaml:1: model 'made': experts: expected: 'load': got 3 shares, want 2, one for each expert");
  EXPECT_THAT(error("load: [0.3, 0.7]"), HasSubstr("expected: load: got '0.3', want a share from 0% to 100%"));
  EXPECT_THAT(error("entropy: 140%"), HasSubstr("expected: entropy: got '140%'"));
  EXPECT_THAT(error("over: 1ms"), HasSubstr("expected: over: got 1ms"));
  EXPECT_THAT(error("escalated: 3%"), HasSubstr("escalated"));
}

TEST_F(MeshComposerTest, HowCascadesAreWatchedHoldsForEachStageUnlessItSaysSoItself) {
  const auto read = [](const std::string& cascade) {
    const YamlNode root = *ParseYaml("cascade:\n" + cascade, "mesh.yaml");
    auto composition = ReadComposition("made", root, "mesh.yaml");
    EXPECT_TRUE(composition.ok()) << composition.status();
    return *std::move(composition);
  };
  const Composition two = read(R"(
  stages:
    - trigger
    - {model: middle, when: a, audit: 5%, expected: {escalated: 12%, agreement: 99.5%, over: 5m}}
    - {model: full, when: b, by: score, brown_out: {max_shed: 40%}}
  audit: {share: 0.5%, max_in_flight: 2, timeout: 500ms, outputs: [score], tolerance: 0.01}
  brown_out: {max_shed: 50%, slower_than: 20ms}
)");
  EXPECT_FALSE(two.members[0].watch.on());
  const CascadeWatch &middle = two.members[1].watch, &full = two.members[2].watch;
  EXPECT_EQ(middle.audit, 0.05);
  EXPECT_EQ(full.audit, 0.005);
  EXPECT_EQ(middle.expected_escalated, 0.12);
  EXPECT_EQ(middle.expected_agreement, 0.995);
  EXPECT_EQ(middle.expected_over, absl::Minutes(5));
  EXPECT_EQ(middle.EscalatedWithin(), 0.03);
  EXPECT_FALSE(full.expects());
  EXPECT_EQ(middle.max_shed, 0.5);
  EXPECT_EQ(full.max_shed, 0.4);
  EXPECT_EQ(two.members[2].by, "score");
  for (const CascadeWatch* watch : {&middle, &full}) {
    EXPECT_EQ(watch->audit_max_in_flight, 2);
    EXPECT_EQ(watch->audit_timeout, absl::Milliseconds(500));
    EXPECT_EQ(watch->agreement_outputs, std::vector<std::string>{"score"});
    EXPECT_EQ(watch->agreement_tolerance, 0.01);
    EXPECT_EQ(watch->slower_than, absl::Milliseconds(20));
  }
}

TEST_F(MeshComposerTest, WhatIsWrongAboutHowCascadesAreWatched) {
  const auto error_of = [this](const std::string& keys, const std::string& stage = "") {
    return ErrorOf("  made: {cascade: {stages: [first, {model: second, when: 'y[0] > 1'" + stage + "}], " + keys +
                   "}}\n");
  };
  const std::string at = "mesh.yaml:5: model 'made': ";
  EXPECT_EQ(error_of("audit: 1"), at + "cascade: audit: got '1', want a share from 0% to 100%, such as 1%");
  EXPECT_EQ(error_of("audit: 101%"), at + "cascade: audit: got '101%', want a share from 0% to 100%, such as 1%");
  EXPECT_EQ(error_of("audit: {timeout: 1s}"), at + "cascade: audit: share: got none, want one such as 1%");
  EXPECT_EQ(error_of("audit: {share: 1%, timeout: 100us}"),
            at + "cascade: audit: timeout: got 100us, want whole milliseconds, 1ms to 24h");
  EXPECT_THAT(error_of("expected: {agreement: 99%}"), HasSubstr("got an agreement and no 'audit'"));
  EXPECT_THAT(error_of("expected: {escalates: 1%}"), HasSubstr("got unknown key 'escalates'"));
  EXPECT_THAT(error_of("brown_out: {slower_than: 1s}"), HasSubstr("brown_out: max_shed: got none"));
  EXPECT_THAT(error_of("row_status: true", ", by: 'y[0]'"), HasSubstr("got 'by' and no 'brown_out', want both"));
  EXPECT_THAT(error_of("row_status: true", ", audit: {share: 1%, outputs: [z]}"),
              HasSubstr("audit: outputs: got 'z', want answers of the cascade: y"));
  EXPECT_THAT(ErrorOf("  made: {cascade: {stages: [{model: first, audit: 1%}, {model: second, when: 'y[0] > 1'}]}}\n"),
              HasSubstr("for the first stage, want them for one that rows go on to"));
  EXPECT_THAT(ErrorOf("  made:\n    cascade:\n      stages: [first, {model: second, when: 'y[0] > 1'}, {model: second, "
                      "when: 'y[0] > 2'}]\n      expected: {escalated: 1%}\n"),
              HasSubstr("mesh.yaml:8: model 'made': cascade: expected: got it for 2 stages, want it at the stage"));
}

TEST_F(MeshComposerTest, WhatIsWrittenWrong) {
  EXPECT_EQ(ErrorOf("  made: {path: packages/first, sequence: [first]}\n"),
            "mesh.yaml:5: model 'made': got 'path' beside what it is made of, want one of them; remove one");
  EXPECT_EQ(ErrorOf("  made: {sequence: [first], ensemble: {models: [first]}}\n"),
            "mesh.yaml:5: model 'made': got sequence and ensemble, want one of them; make a model of each");
  EXPECT_EQ(ErrorOf("  made:\n    cascade:\n      stages: [first]\n"),
            "mesh.yaml:7: model 'made': cascade: stages: got 1, want 2 to 64");
  EXPECT_EQ(
      ErrorOf("  made:\n    cascade:\n      stages:\n        - first\n        - second\n"),
      "mesh.yaml:9: model 'made': stage 'second': got no 'when', want the condition for rows to go on to it, such as "
      "\"score > 0.5\"");
  EXPECT_EQ(ErrorOf("  made: {cascade: {stages: [{model: first, when: a}, second]}}\n"),
            "mesh.yaml:5: model 'made': stage 'first': got 'when' for the first stage, want none: it gets all rows");
  EXPECT_EQ(ErrorOf("  made:\n    cascade:\n      stages:\n        - first\n        - model: second\n"
                    "          when: y[0] >\n"),
            "mesh.yaml:10: model 'made': condition 'y[0] >': at column 7: got the end, want a name, a number, text in "
            "quotes or '('");
  EXPECT_EQ(ErrorOf("  made: {cascade: {stages: [first, {model: second, when: z > 1}]}}\n"),
            "mesh.yaml:5: model 'made': condition 'z > 1': at column 1: got name 'z', want one of the outputs: y");
  EXPECT_EQ(ErrorOf("  made: {cascade: {stages: [first, {model: second, when: a}], on_row_error: ignore}}\n"),
            "mesh.yaml:5: model 'made': cascade: on_row_error: got 'ignore', want cheap or mark or fail");
  EXPECT_EQ(ErrorOf("  made: {sequence: [{model: first, inlined: true}]}\n"),
            "mesh.yaml:5: model 'made': sequence: steps: got unknown key 'inlined', want one of model, signature, "
            "inline, pin, inputs, outputs, shared");
  EXPECT_EQ(ErrorOf("  made: {sequence: [third]}\n"),
            "mesh.yaml:5: model 'made': got 'third', which is no model, want one of 'models': first, second, made");
  EXPECT_EQ(ErrorOf("  made: {experts: {gate: first, experts: [first, second], k: 3}}\n"),
            "mesh.yaml:5: model 'made': experts: k: got '3', want a whole number from 1 to 2");
  EXPECT_EQ(
      ErrorOf("  made: {ensemble: {models: [first, second], weights: [1]}}\n"),
      "mesh.yaml:5: model 'made': ensemble: weights: got 1 for 'mean', want one for each of 2 models, not all 0, with "
      "'combine: mean'");
  const auto mesh = ReadMeshFile(folder_.WriteMesh(Mesh(kSequence, "made")));
  EXPECT_THAT(mesh.status().message(),
              HasSubstr("got a composition, want 'path' here, where packages must be in place; "
                        "write it with 'portico compose'"));
}

}  // namespace
}  // namespace portico
