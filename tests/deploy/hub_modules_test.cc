#include "deploy/hub_modules.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "absl/time/clock.h"
#include "deploy/mesh_follower.h"
#include "deploy/mesh_pins.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/mesh_fixture.h"
#include "tests/hub/hub_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Meshes whose modules are found without a store.
class HubModulesTest : public ::testing::Test {
 protected:
  HubModulesTest() {
    folder_.WritePlain("a");
    folder_.WritePlain("acme/encoder");  // Version 1.
  }

  absl::StatusOr<MeshFile> Read(absl::string_view models, absl::string_view serve = "[acme/encoder/1]") {
    const std::string path =
        folder_.WriteMesh(absl::StrCat("mesh: m\n", models, "nodes:\n  n: {serve: ", serve, "}\n"));
    return ReadMeshFile(path, nullptr, "", [this](const std::string& store, const Handle& handle) {
      asked_.push_back(absl::StrCat(handle.ToString(), " of ", store));
      return error_.ok() ? absl::StatusOr<std::string>(folder_.path() + "/packages/acme/encoder") : error_;
    });
  }
  std::string ErrorOf(absl::string_view models, absl::string_view serve = "[acme/encoder/1]") {
    const auto mesh = Read(models, serve);
    EXPECT_EQ(mesh.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(mesh.status().message());
  }

  MeshFolder folder_;
  std::vector<std::string> asked_;
  absl::Status error_;
};

TEST_F(HubModulesTest, AHandleIsAModelWithOneVersion) {
  const auto mesh = Read("hub: modules\nmodels:\n  acme/encoder/1: {}\n");
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  EXPECT_THAT(asked_, ElementsAre("acme/encoder/1 of " + folder_.path() + "/modules"));
  ASSERT_EQ(mesh->revision.models.size(), 1u);
  const Revision::Model& model = mesh->revision.models[0];
  EXPECT_EQ(model.name, "acme/encoder");
  EXPECT_EQ(model.path, folder_.path() + "/packages/acme/encoder");
  EXPECT_THAT(model.versions.versions, ElementsAre(1));
  ASSERT_EQ(model.pins.size(), 1u);
  EXPECT_THAT(mesh->revision.nodes[0].serve, ElementsAre("acme/encoder"));
}

TEST_F(HubModulesTest, StoresAreTakenAsTheyAreUnlessTheyAreRelativeFolders) {
  ASSERT_TRUE(Read("models:\n  acme/encoder/1: {hub: 'https://h/x', on_demand: true}\n").ok());
  ASSERT_TRUE(Read("hub: /srv/hub\nmodels:\n  acme/encoder/1:\n", "[acme/encoder]").ok());
  EXPECT_THAT(asked_, ElementsAre("acme/encoder/1 of https://h/x", "acme/encoder/1 of /srv/hub"));
}

TEST_F(HubModulesTest, MistakesAreSaidWithTheLine) {
  EXPECT_THAT(ErrorOf("models:\n  acme/encoder/1: {}\n"), AllOf(HasSubstr("mesh.yaml:3:"), HasSubstr("got no store")));
  EXPECT_THAT(ErrorOf("hub: x\nmodels:\n  acme/encoder/01: {}\n"),
              AllOf(HasSubstr("mesh.yaml:4:"), HasSubstr("want 'acme/encoder/1'")));
  EXPECT_THAT(ErrorOf("hub: x\nmodels:\n  acme/encoder/1: {path: y}\n"), HasSubstr("path"));
  EXPECT_THAT(ErrorOf("hub: x\nmodels:\n  acme/encoder/1: {}\n  acme/encoder: {path: packages/a}\n"),
              AllOf(HasSubstr("mesh.yaml:5:"), HasSubstr("a path of its own")));
  EXPECT_THAT(ErrorOf("hub: x\nmodels:\n  acme/encoder: {path: packages/a}\n  acme/encoder/1: {}\n"),
              HasSubstr("a path of its own"));
  EXPECT_THAT(ErrorOf("hub: x\nmodels:\n  acme/encoder/1: {}\n", "[acme/encoder/2]"), HasSubstr("'acme/encoder/2'"));
  EXPECT_THAT(ErrorOf("hub: x\nmodels:\n  acme/encoder@1: {}\n"),
              AllOf(HasSubstr("mesh.yaml:4:"), HasSubstr("got '@' in it, want 'acme/encoder/1'")));
  EXPECT_THAT(ErrorOf("hub: x\nmodels:\n  acme/encoder:1: {path: x}\n"), HasSubstr("want 'acme/encoder/1'"));
  for (const char* models :
       {"models:\n\n  acme/encoder: {hub: x}\n", "models:\n  acme/encoder/1: {hub: x}\n  acme/encoder: {}\n"}) {
    EXPECT_THAT(ErrorOf(models),
                AllOf(HasSubstr("mesh.yaml:4:"), HasSubstr("got no version, want 'acme/encoder/VERSION'")))
        << models;
  }
  EXPECT_THAT(ErrorOf("hub: x\nmodels:\n  plain: {}\n"), HasSubstr("got no 'path'"));
  EXPECT_THAT(ErrorOf("hub: [x]\nmodels:\n  acme/encoder/1: {}\n"), HasSubstr("hub"));
  // The folder has no such version.
  EXPECT_THAT(ErrorOf("hub: x\nmodels:\n  acme/encoder/7: {}\n", "[acme/encoder/7]"),
              AllOf(HasSubstr("mesh.yaml:4:"), HasSubstr("versions: got none")));
  error_ = absl::NotFoundError("not in the store");
  EXPECT_THAT(ErrorOf("hub: x\nmodels:\n  acme/encoder/1: {}\n"),
              AllOf(HasSubstr("mesh.yaml:4:"), HasSubstr("not in the store")));
}

TEST_F(HubModulesTest, WhatOneVersionSaysHoldsForAllAndTwoSayTheSame) {
  const auto with = [&](const std::string& one, const std::string& two) {
    return absl::StrCat("hub: x\nmodels:\n  a: {path: packages/a}\n  acme/encoder/1: {", one, "}\n  acme/encoder/2: {",
                        two, "}\n");
  };
  std::filesystem::copy(folder_.path() + "/packages/acme/encoder/1", folder_.path() + "/packages/acme/encoder/2");
  for (const auto& [key, one, two] : std::vector<std::array<std::string, 3>>{
           {"result_cache_mib", "256", "16"}, {"shares", "{a: 2}", "{a: 3}"}, {"providers", "[cpu]", "[cuda, cpu]"}}) {
    EXPECT_THAT(ErrorOf(with(key + ": " + one, key + ": " + two)),
                AllOf(HasSubstr("mesh.yaml:6:"), HasSubstr("model 'acme/encoder/2': " + key + ": got another than")));
  }
  for (const auto& text : {with("result_cache_mib: 16", ""), with("", "result_cache_mib: 16"),
                           with("result_cache_mib: 16", "result_cache_mib: 16")}) {
    const auto mesh = Read(text);
    ASSERT_TRUE(mesh.ok()) << mesh.status();
    EXPECT_EQ(mesh->revision.FindModel("acme/encoder")->result_cache_mib, 16);
  }
}

TEST_F(HubModulesTest, AStoreThatDoesNotAnswerIsNoMistakeInTheFile) {
  error_ = absl::UnavailableError("nobody there");
  const auto mesh = Read("hub: x\nmodels:\n  acme/encoder/1: {}\n");
  EXPECT_EQ(mesh.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(mesh.status().message()), AllOf(HasSubstr("mesh.yaml:4:"), HasSubstr("nobody there")));
}

TEST_F(HubModulesTest, AnEditThatAStoreDidNotAnswerIsReadAgain) {
  const auto first = Read("models:\n  a: {path: packages/a}\n", "[a]");
  ASSERT_TRUE(first.ok()) << first.status();
  std::atomic<int> asked{0};
  MeshFollower::Options options;
  options.mesh_file = folder_.path() + "/mesh.yaml";
  options.period = absl::Milliseconds(10);
  options.settle = absl::Milliseconds(1);
  options.find_module = [&](const std::string&, const Handle&) -> absl::StatusOr<std::string> {
    if (++asked <= 3) return absl::UnavailableError("nobody there");
    return folder_.path() + "/packages/acme/encoder";
  };
  PackageReader packages;
  MeshFollower follower(std::move(options), *first, packages);
  folder_.WriteMesh("mesh: m\nhub: x\nmodels:\n  acme/encoder/1: {}\nnodes:\n  n: {serve: [acme/encoder/1]}\n");
  std::optional<MeshFollower::News> news;
  const absl::Time by = absl::Now() + absl::Seconds(20);
  while ((!news.has_value() || !news->revision.ok()) && absl::Now() < by) {
    absl::SleepFor(absl::Milliseconds(5));
    if (auto next = follower.Take(); next.has_value()) news = std::move(next);
  }
  ASSERT_TRUE(news.has_value());
  ASSERT_TRUE(news->revision.ok()) << news->revision.status();
  EXPECT_EQ(news->revision->models[0].name, "acme/encoder");
  EXPECT_TRUE(news->file_changed);
  EXPECT_GT(asked.load(), 3);
}

TEST_F(HubModulesTest, APortalThatCallsAModuleByAnotherNameIsToldTheName) {
  const auto alone = Read("hub: x\nmodels:\n  acme/encoder/1: {}\n");
  ASSERT_TRUE(alone.ok()) << alone.status();
  const Digest digest = alone->revision.models[0].pins[0].digest;
  folder_.WriteCaller("caller", "hub/part", {String("digest", digest.Hex())});
  EXPECT_THAT(
      ErrorOf("hub: x\nmodels:\n  acme/encoder/1: {}\n  caller: {path: packages/caller}\n", "[acme/encoder/1, caller]"),
      AllOf(HasSubstr("got target 'hub/part', want 'acme/encoder'"), HasSubstr("name the part so in the plan")));
}

TEST_F(HubModulesTest, APortalThatCallsAVersionTheMeshHasNotIsToldTheHandle) {
  Digest other;
  other.bytes.fill(7);
  folder_.WriteCaller("caller", "acme/encoder", {String("digest", other.Hex())});
  const auto error = [&](absl::string_view line, std::optional<Handle> pulled) {
    const std::string path = folder_.WriteMesh(
        absl::StrCat("mesh: m\nhub: x\nmodels:\n  ", line,
                     "\n  caller: {path: packages/caller}\nnodes:\n  n: {serve: [acme/encoder, caller]}\n"));
    const auto mesh = ReadMeshFile(
        path, nullptr, "", [&](const std::string&, const Handle&) { return folder_.path() + "/packages/acme/encoder"; },
        [&](const PortalTarget& target) {
          EXPECT_EQ(target.digest, other);
          return pulled;
        });
    return std::string(mesh.status().message());
  };
  EXPECT_THAT(error("acme/encoder/1: {}", ParseHandle("acme/encoder/2").value()),
              AllOf(HasSubstr("mesh.yaml:5: model 'caller': portal "), HasSubstr("got digest 070707070707"),
                    HasSubstr("the hub module 'acme/encoder/2': add 'acme/encoder/2: {}' to 'models'")));
  EXPECT_THAT(error("acme/encoder/1: {}", std::nullopt), HasSubstr("'portico hub list acme/encoder'"));
  // A folder's versions are not the hub's.
  EXPECT_THAT(error("acme/encoder: {path: packages/acme/encoder}", ParseHandle("acme/encoder/2").value()),
              HasSubstr("use the packages of one split"));
}

TEST_F(HubModulesTest, WhatACachedModuleCallsIsPulledWhereItIsMissing) {
  const HubFolder hub;
  const Digest inner = hub.Put("acme/inner/1", 1).manifest.digest;
  folder_.WriteCaller("caller", "acme/inner", {String("digest", inner.Hex())});
  ASSERT_TRUE(hub.Publish("acme/caller/1", folder_.ModelFile("caller")).ok());
  const std::string published = hub.root() + "/acme/inner";
  const char* before = getenv("XDG_CACHE_HOME");
  const std::optional<std::string> old = before == nullptr ? std::nullopt : std::optional<std::string>(before);
  setenv("XDG_CACHE_HOME", hub.cache().c_str(), 1);
  std::vector<std::string> said;
  const auto pull = [&] {
    said.clear();
    return PullModules([&](absl::string_view line) { said.emplace_back(line); })(hub.root(),
                                                                                 *ParseHandle("acme/caller/1"));
  };
  std::filesystem::rename(published, published + "-away");
  EXPECT_TRUE(pull().ok());
  EXPECT_THAT(said, ElementsAre(HasSubstr("pulled acme/caller/1 from ")));
  std::filesystem::rename(published + "-away", published);
  EXPECT_TRUE(pull().ok());
  EXPECT_THAT(said, ElementsAre(HasSubstr("pulled acme/inner/1, which acme/caller/1 needs")));
  EXPECT_TRUE(pull().ok());
  EXPECT_TRUE(said.empty());
  old.has_value() ? setenv("XDG_CACHE_HOME", old->c_str(), 1) : unsetenv("XDG_CACHE_HOME");
}

TEST_F(HubModulesTest, WithoutAFinderModulesAreRefused) {
  const auto mesh =
      ReadMeshFile(folder_.WriteMesh("mesh: m\nhub: x\nmodels:\n  acme/encoder/1: {}\nnodes:\n  n: {serve: [x]}\n"));
  EXPECT_THAT(std::string(mesh.status().message()), HasSubstr("'portico hub pull acme/encoder/1'"));
}

TEST_F(HubModulesTest, AMeshPinsWhatItNamesServesAndCalls) {
  Digest called;
  called.bytes.fill(7);
  folder_.WriteCaller("caller", "acme/other", {String("digest", called.Hex())});
  const std::string mesh = folder_.WriteMesh(
      "mesh: m\nhub: x\nmodels:\n  acme/encoder/3: {}\n  caller: {path: packages/caller}\nnodes: {}\n");
  ModulePins pins;
  ASSERT_TRUE(AddMeshPins(mesh, &pins).ok());
  ASSERT_EQ(pins.handles.size(), 1u);
  EXPECT_EQ(pins.handles.begin()->first.ToString(), "acme/encoder/3");
  EXPECT_THAT(*pins.handles.begin()->second.begin(), HasSubstr("model 'acme/encoder/3' of mesh"));
  EXPECT_EQ(pins.digests.size(), 2u);
  EXPECT_TRUE(pins.digests.contains(called));
  EXPECT_FALSE(AddMeshPins(folder_.WriteMesh("mesh: m\nmodels:\n  gone: {path: nowhere}\n"), &pins).ok());
  EXPECT_FALSE(AddMeshPins(folder_.WriteMesh("mesh: m\n"), &pins).ok());
  // A model whose path is misspelt is no composition.
  EXPECT_FALSE(AddMeshPins(folder_.WriteMesh("mesh: m\nmodels:\n  caller: {pth: packages/caller}\n"), &pins).ok());
  EXPECT_TRUE(AddMeshPins(folder_.WriteMesh("mesh: m\nmodels:\n  both: {sequence: [a, b]}\n"), &pins).ok());
}

}  // namespace
}  // namespace portico
