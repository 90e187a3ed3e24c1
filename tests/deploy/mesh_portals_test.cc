#include "deploy/mesh_portals.h"

#include <filesystem>
#include <fstream>

#include "deploy/mesh.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/package/package.h"
#include "tests/deploy/mesh_fixture.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class MeshPortalsTest : public ::testing::Test {
 protected:
  /// "mesh.yaml:3: ..."; empty when the mesh is fine. Model i of `models` stands in line 3 + i; all of `served` are
  /// served.
  std::string ErrorOf(const std::vector<std::string>& models, const std::vector<std::string>& served) {
    std::string text = "mesh: m\nmodels:\n";
    for (const std::string& model : models) absl::StrAppend(&text, "  ", model, ": {path: packages/", model, "}\n");
    absl::StrAppend(&text, "nodes:\n");
    for (size_t i = 0; i < served.size(); ++i) absl::StrAppend(&text, "  n", i, ": {serve: [", served[i], "]}\n");
    const absl::Status status = ReadMeshFile(folder_.WriteMesh(text)).status();
    if (status.ok()) return "";
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message()).substr(folder_.path().size() + 1);
  }

  Digest DigestOf(const std::string& model) {
    WeightStore store;
    const auto package = LoadPackage(model, folder_.path() + "/packages/" + model + "/1", store);
    EXPECT_TRUE(package.ok()) << package.status();
    return package->digest;
  }

  MeshFolder folder_;
};

TEST_F(MeshPortalsTest, PortalToTheDigestThatTheMeshHasIsFine) {
  folder_.WritePlain("hub/enc");
  folder_.WriteCaller("digit", "hub/enc", {String("digest", DigestOf("hub/enc").Hex())});
  EXPECT_EQ(ErrorOf({"digit", "hub/enc"}, {"digit", "hub/enc"}), "");
}

TEST_F(MeshPortalsTest, CallsAreLeftOutOfALargeMesh) {
  folder_.WritePlain("hub/enc");
  folder_.WriteCaller("digit", "hub/enc", {String("digest", DigestOf("hub/enc").Hex())});
  for (const bool large : {false, true}) {
    const auto mesh = ReadMeshFile(folder_.WriteMesh(
        absl::StrCat("mesh: m\nmodels:\n  hub/enc: {path: packages/hub/enc}\n  digit: {path: packages/digit}\n"
                     "nodes:\n  all: {serve: [hub/enc, digit], zone: ",
                     std::string(large ? size_t{600} << 10 : 1, 'z'), "}\n")));
    ASSERT_TRUE(mesh.ok()) << mesh.status();
    EXPECT_EQ(mesh->revision.FindModel("digit")->calls.size(), large ? 0u : 1u);
    EXPECT_EQ(mesh->revision.calls_left_out, large);
  }
}

TEST_F(MeshPortalsTest, TargetThatIsNoModelIsRefused) {
  folder_.WritePlain("a");
  folder_.WriteCaller("digit", "hub/enc");
  EXPECT_EQ(ErrorOf({"a", "digit"}, {"a", "digit"}),
            "mesh.yaml:4: model 'digit': portal 'portal_0': got target 'hub/enc', want a model of this mesh; add "
            "'hub/enc' to "
            "'models' and to the 'serve' of a node, or to 'external' where servers of another make have it");
}

TEST_F(MeshPortalsTest, TargetThatNobodyServesIsRefused) {
  folder_.WritePlain("hub/enc");
  folder_.WriteCaller("digit", "hub/enc");
  EXPECT_EQ(ErrorOf({"hub/enc", "digit"}, {"digit"}),
            "mesh.yaml:4: model 'digit': portal 'portal_0': got target 'hub/enc', which no node serves; add it to the "
            "'serve' of a node");
}

TEST_F(MeshPortalsTest, TargetOfAnotherDigestIsRefusedAndBothAreNamed) {
  folder_.WritePlain("hub/enc");
  const Digest old = DigestOf("hub/enc");
  folder_.WriteCaller("digit", "hub/enc", {String("digest", old.Hex())});
  folder_.WritePlain("hub/enc", "Sigmoid");
  const std::string error = ErrorOf({"digit", "hub/enc"}, {"digit", "hub/enc"});
  EXPECT_THAT(error, StartsWith("mesh.yaml:3: model 'digit': portal 'portal_0': got digest " + old.Short() +
                                " for target 'hub/enc', want " + DigestOf("hub/enc").Short()));
  EXPECT_THAT(error, HasSubstr(folder_.path() + "/packages/hub/enc/1"));
}

TEST_F(MeshPortalsTest, SignatureThatTheTargetHasNotIsRefused) {
  folder_.WritePlain("hub/enc");
  folder_.WriteCaller("digit", "hub/enc", {String("signature", "other")});
  EXPECT_EQ(ErrorOf({"digit", "hub/enc"}, {"digit", "hub/enc"}),
            "mesh.yaml:3: model 'digit': portal 'portal_0': got signature 'other' of target 'hub/enc', want one of "
            "serving_default");
}

TEST_F(MeshPortalsTest, TheVersionOfTheDigestHasTheSignature) {
  folder_.WritePlain("enc", "Neg");
  std::filesystem::create_directories(folder_.path() + "/packages/enc/2");
  std::filesystem::copy_file(folder_.ModelFile("enc"), folder_.path() + "/packages/enc/2/model.onnx");
  folder_.WritePlain("enc");
  const Digest first = DigestOf("enc");
  std::ofstream(folder_.path() + "/packages/enc/2/servable.yaml")
      << "signatures:\n  renamed: {inputs: {x: {tensor: x}}, outputs: {y: {tensor: y}}}\n";
  WeightStore store;
  const auto package = LoadPackage("enc", folder_.path() + "/packages/enc/2", store);
  ASSERT_TRUE(package.ok()) << package.status();
  const Digest second = package->digest;
  ASSERT_NE(first, second);
  const auto error_of = [&](const std::string& versions) {
    return std::string(
        ReadMeshFile(folder_.WriteMesh(absl::StrCat("mesh: m\nmodels:\n  digit: {path: packages/digit}\n  enc: {path: "
                                                    "packages/enc, versions: ",
                                                    versions, "}\nnodes:\n  n: {serve: [digit, enc]}\n")))
            .status()
            .message());
  };
  const auto call = [&](const Digest& digest, const std::string& signature) {
    Attrs attrs = {String("signature", signature)};
    if (!digest.empty()) attrs.push_back(String("digest", digest.Hex()));
    folder_.WriteCaller("digit", "enc", std::move(attrs));
  };
  call(first, "serving_default");
  EXPECT_EQ(error_of("[1, 2]"), "");
  call(second, "renamed");
  EXPECT_EQ(error_of("[1, 2]"), "");
  call(first, "renamed");
  EXPECT_THAT(error_of("[1, 2]"), HasSubstr("got signature 'renamed' of target 'enc', want one of serving_default"));
  call(second, "serving_default");
  EXPECT_THAT(error_of("[1, 2]"), HasSubstr("got signature 'serving_default' of target 'enc', want one of renamed"));
  // Without a digest the highest one answers.
  call(Digest(), "renamed");
  EXPECT_EQ(error_of("[1, 2]"), "");
  EXPECT_THAT(error_of("[1]"), HasSubstr("want one of serving_default"));
  // Experts are compared as what they are called as.
  folder_.WritePlain("other");
  const auto experts_error = [&](const Digest& digest) {
    folder_.WriteExperts("moe", {"enc", "other"}, {Strings("digests", {digest.Hex(), ""})});
    return std::string(ReadMeshFile(folder_.WriteMesh("mesh: m\nmodels:\n  moe: {path: packages/moe}\n  other: {path: "
                                                      "packages/other}\n  enc: {path: packages/enc, versions: [1, "
                                                      "2]}\nnodes:\n  n: {serve: [moe, other, enc]}\n"))
                           .status()
                           .message());
  };
  EXPECT_EQ(experts_error(first), "");
  EXPECT_THAT(experts_error(second), HasSubstr("want one of renamed"));
}

TEST_F(MeshPortalsTest, PortalsToExternalTargetsAreCheckedAgainstThem) {
  const auto error_of = [&](const std::string& external) {
    const absl::Status status =
        ReadMeshFile(folder_.WriteMesh(absl::StrCat("mesh: m\nmodels:\n  digit: {path: packages/digit}\nexternal:\n  ",
                                                    external, "\nnodes:\n  n: {serve: [digit]}\n")))
            .status();
    return status.ok() ? "" : std::string(status.message()).substr(folder_.path().size() + 1);
  };
  folder_.WriteCaller("digit", "hub/enc");
  EXPECT_EQ(error_of("hub/enc: {peers: ['v2+http://h:1']}"), "");
  EXPECT_EQ(error_of("hub/enc: {peers: ['tfs+http://h:1']}"), "");
  EXPECT_THAT(error_of("hub/dec: {peers: ['tfs+http://h:1']}"), HasSubstr("want a model of this mesh"));
  EXPECT_EQ(
      error_of("hub/enc: {peers: ['tfs+http://h:1'], signature: rank}"),
      "mesh.yaml:3: model 'digit': portal 'portal_0': got signature 'serving_default' of external 'hub/enc', want "
      "'rank'");
  folder_.WriteCaller("digit", "hub/enc", {String("signature", "rank")});
  EXPECT_EQ(error_of("hub/enc: {peers: ['tfs+http://h:1'], signature: rank}"), "");
  EXPECT_THAT(error_of("hub/enc: {peers: ['v2+http://h:1']}"), HasSubstr("want 'serving_default'"));
  folder_.WriteCaller("digit", "hub/enc", {String("digest", std::string(64, 'a'))});
  EXPECT_THAT(error_of("hub/enc: {peers: ['v2+http://h:1']}"), HasSubstr("for external 'hub/enc', want none"));
}

TEST_F(MeshPortalsTest, CyclesAreRefused) {
  folder_.WriteCaller("a", "a");
  EXPECT_EQ(ErrorOf({"a"}, {"a"}),
            "mesh.yaml:3: model 'a': got portals that call in a circle, a → a, want none that come back; split so that "
            "no part calls "
            "its caller");
  folder_.WriteCaller("entry", "b");
  folder_.WriteCaller("b", "c");
  folder_.WriteCaller("c", "b");
  EXPECT_THAT(ErrorOf({"entry", "b", "c"}, {"entry", "b", "c"}),
              StartsWith("mesh.yaml:3: model 'entry': got portals that call in a circle, b → c → b, want none"));
}

TEST_F(MeshPortalsTest, TwoWaysToOneTargetAreNoCycle) {
  folder_.WritePlain("leaf");
  folder_.WriteCaller("left", "leaf");
  folder_.WriteCaller("right", "leaf");
  folder_.WriteCaller("top", "left");
  EXPECT_EQ(ErrorOf({"top", "left", "right", "leaf"}, {"top", "left", "right", "leaf"}), "");
}

TEST_F(MeshPortalsTest, PortalsOfAllVersionsThatAreServedAreChecked) {
  folder_.WriteCaller("outer", "inner");
  ModelBuilder second;
  second.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2}).Node("Relu", {"x"}, {"y"});
  second.WriteTo(folder_.File("packages/outer/2/model.onnx"));
  const auto error_of = [&](const std::string& versions) {
    return std::string(ReadMeshFile(folder_.WriteMesh(absl::StrCat(
                                        "mesh: m\nmodels:\n  outer: {path: packages/outer, versions: ", versions,
                                        "}\nnodes:\n  n: {serve: [outer]}\n")))
                           .status()
                           .message());
  };
  EXPECT_EQ(error_of("[2]"), "");
  EXPECT_THAT(error_of("[1, 2]"), HasSubstr("mesh.yaml:3: model 'outer': portal 'portal_0': got target 'inner'"));
}

TEST_F(MeshPortalsTest, EachExpertIsATarget) {
  folder_.WritePlain("a");
  folder_.WritePlain("b", "Sigmoid");
  folder_.WriteExperts("moe", {"a", "b"});
  EXPECT_EQ(ErrorOf({"moe", "a", "b"}, {"moe", "a", "b"}), "");
  EXPECT_THAT(ErrorOf({"moe", "a"}, {"moe", "a"}),
              StartsWith("mesh.yaml:3: model 'moe': portal 'moe_0': got target 'b', want a model of this mesh"));
  EXPECT_THAT(ErrorOf({"moe", "a", "b"}, {"moe", "b"}), HasSubstr("got target 'a', which no node serves"));
  folder_.WriteExperts("moe", {"a", "b"}, {Strings("digests", {"", DigestOf("b").Hex()})});
  EXPECT_EQ(ErrorOf({"moe", "a", "b"}, {"moe", "a", "b"}), "");
  folder_.WriteExperts("moe", {"a", "b"}, {Strings("digests", {"", DigestOf("a").Hex()})});
  EXPECT_THAT(ErrorOf({"moe", "a", "b"}, {"moe", "a", "b"}), HasSubstr(" for target 'b', want "));
  folder_.WriteExperts("b", {"a", "moe"});
  folder_.WriteExperts("moe", {"a", "b"});
  EXPECT_THAT(ErrorOf({"moe", "a", "b"}, {"moe", "a", "b"}), HasSubstr("in a circle, moe → b → moe"));
}

TEST_F(MeshPortalsTest, ExpertsWhoseSignaturesDifferAreRefusedAndBothAreNamed) {
  folder_.WritePlain("a");
  folder_.WriteExperts("moe", {"a", "b"});
  const auto error_with = [&](const ModelBuilder& b) {
    b.WriteTo(folder_.ModelFile("b"));
    return ErrorOf({"moe", "a", "b"}, {"moe", "a", "b"});
  };
  const auto expert = [](absl::string_view input, DType dtype, const ModelShape& in, const ModelShape& out) {
    ModelBuilder model;
    model.Input(input, dtype, in).Output("y", dtype, out).Node("Relu", {std::string(input)}, {"y"});
    return model;
  };
  EXPECT_EQ(error_with(expert("x", DType::kFloat, {"M", 2}, {"M", 2})), "");
  EXPECT_EQ(
      error_with(expert("x", DType::kFloat, {"N", 3}, {"N", 3})),
      "mesh.yaml:3: model 'moe': portal 'moe_0': got experts 'a' and 'b' whose signature 'serving_default' differs: "
      "input 'x' as float32[N,2] and as float32[N,3]; want experts that take and give the same");
  EXPECT_THAT(error_with(expert("x", DType::kDouble, {"N", 2}, {"N", 2})), HasSubstr("float64[N,2]"));
  EXPECT_THAT(error_with(expert("z", DType::kFloat, {"N", 2}, {"N", 2})), HasSubstr("differs: inputs x and z"));
  ModelBuilder two;
  two.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2}).Output("z", DType::kFloat, {"N", 2});
  two.Node("Relu", {"x"}, {"y"}).Node("Relu", {"x"}, {"z"});
  EXPECT_THAT(error_with(two), HasSubstr("differs: outputs y and y, z"));
}

}  // namespace
}  // namespace portico
