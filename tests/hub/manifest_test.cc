#include "hub/manifest.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

Manifest Example() {
  Manifest manifest;
  manifest.handle = {"acme", "encoder", 3};
  manifest.digest = Sha256("digest");
  manifest.family = "image-encoder";
  manifest.description = "a \"line\"\nand another";
  manifest.license = "Apache-2.0";
  manifest.published = absl::FromUnixSeconds(1'700'000'000);
  manifest.tool = "portico test";
  manifest.provenance = {Sha256("source"), "parts: []\n", "portico 0"};
  manifest.files = {{"assets/words.txt", 8, Sha256("a")}, {"model.onnx", 100, Sha256("b")}};
  Signature signature{"serving_default", {}, {}};
  signature.inputs.push_back({"image", "image", DType::kFloat, true, {{-1, "N"}, {64, ""}, {-1, ""}}});
  signature.inputs.push_back({"free", "free", DType::kString, false, {}});
  signature.outputs.push_back({"y", "y", DType::kInvalid, true, {}});
  manifest.signatures.push_back(signature);
  manifest.portals = {{"acme/other", Sha256("other")}, {"any", Digest()}};
  return manifest;
}

TEST(ManifestTest, SaysWhatItWasMadeOf) {
  const Manifest wrote = Example();
  const auto read = ParseManifest(FormatManifest(wrote));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->handle, wrote.handle);
  EXPECT_EQ(read->digest, wrote.digest);
  EXPECT_EQ(read->family, wrote.family);
  EXPECT_EQ(read->description, wrote.description);
  EXPECT_EQ(read->license, wrote.license);
  EXPECT_EQ(read->published, wrote.published);
  EXPECT_EQ(read->provenance, wrote.provenance);
  EXPECT_EQ(read->files, wrote.files);
  EXPECT_EQ(read->bytes(), 108u);
  ASSERT_EQ(read->signatures.size(), 1u);
  EXPECT_EQ(read->signatures[0].inputs[0].ToString(), wrote.signatures[0].inputs[0].ToString());
  EXPECT_FALSE(read->signatures[0].inputs[1].has_rank);
  EXPECT_EQ(read->signatures[0].outputs[0].dtype, DType::kInvalid);
  ASSERT_EQ(read->portals.size(), 2u);
  EXPECT_EQ(read->portals[0].digest, Sha256("other"));
  EXPECT_TRUE(read->portals[1].digest.empty());
  EXPECT_EQ(FormatManifest(*read), FormatManifest(wrote));
}

struct Hostile {
  std::string what;
  std::string from;
  std::string to;
  std::string message;
};

class HostileManifestTest : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileManifestTest, IsRefused) {
  const std::string good = FormatManifest(Example());
  const std::string text = absl::StrReplaceAll(good, {{GetParam().from, GetParam().to}});
  ASSERT_NE(text, good);
  const auto manifest = ParseManifest(text);
  ASSERT_FALSE(manifest.ok());
  EXPECT_THAT(std::string(manifest.status().message()), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, HostileManifestTest,
    ::testing::Values(Hostile{"Climbs", "assets/words.txt", "../words.txt", "stays in the folder"},
                      Hostile{"ClimbsInside", "assets/words.txt", "assets/../../words.txt", "stays in the folder"},
                      Hostile{"Absolute", "assets/words.txt", "/etc/passwd", "stays in the folder"},
                      Hostile{"Hidden", "assets/words.txt", "assets/.origin", "begins with a dot"},
                      Hostile{"Backslash", "assets/words.txt", "assets\\\\words.txt", "backslash"},
                      Hostile{"Control", "assets/words.txt", "assets/\\u0007", "control character"},
                      Hostile{"ItsOwnName", "assets/words.txt", "manifest.json", "the manifest itself"},
                      Hostile{"Deep", "assets/words.txt", "a/b/c/d/e/f/g/h/i", "too deep"},
                      Hostile{"LongPath", "assets/words.txt", std::string(600, 'a'), "got 600 bytes"},
                      Hostile{"Twice", "assets/words.txt", "model.onnx", "each path once"},
                      Hostile{"FileAsFolder", "assets/words.txt", "model.onnx/x", "no file as a folder"},
                      Hostile{"NoModel", "model.onnx", "model.bin", "no 'model.onnx'"},
                      Hostile{"Huge", "\"bytes\": 100", "\"bytes\": 9223372036854775807", "too large"},
                      Hostile{"Negative", "\"bytes\": 100", "\"bytes\": -1", "no size"},
                      Hostile{"Fraction", "\"bytes\": 100", "\"bytes\": 1.5", "no size"},
                      Hostile{"Digest", Sha256("digest").Hex(), "1234", "want 64 hex digits"},
                      Hostile{"NoDigest", Sha256("b").Hex(), "", "want 64 hex digits"},
                      Hostile{"Handle", "acme/encoder/3", "acme/../3", "begins with '.'"},
                      Hostile{"Family", "image-encoder", "../family", "no good"},
                      Hostile{"Format", "\"portico_manifest\": 1", "\"portico_manifest\": 2", "use a newer portico"},
                      Hostile{"NoFormat", "portico_manifest", "something", "want a manifest of a hub module"},
                      Hostile{"Time", "2023-11-14", "yesterday", "want a time"},
                      Hostile{"DType", "\"float32\"", "\"quux\"", "quux"},
                      Hostile{"Extent", "\"N\", 64", "\"N\", -64", "numbers and names"},
                      Hostile{"Cut", "\n}\n", "", "JSON"},
                      Hostile{"FilesNoList", "\"files\": [", "\"other\": [", "want a list"},
                      Hostile{"Text", "\"Apache-2.0\"", "[1]", "want a text"}),
    [](const auto& info) { return info.param.what; });

TEST(ManifestTest, NoJsonAtAllIsRefused) {
  EXPECT_FALSE(ParseManifest("").ok());
  EXPECT_FALSE(ParseManifest("[]").ok());
  EXPECT_FALSE(ParseManifest("1").ok());
  EXPECT_FALSE(ParseManifest(std::string(100'000, '[')).ok());
  EXPECT_THAT(std::string(ParseManifest(std::string(Manifest::kMaxBytes + 1, ' ')).status().message()),
              HasSubstr("at most"));
}

TEST(ManifestTest, ManyFilesAreRefused) {
  Manifest manifest = Example();
  for (size_t i = 0; i <= Manifest::kMaxFiles; ++i) {
    manifest.files.push_back({absl::StrCat("f", i), 1, Sha256("x")});
  }
  EXPECT_THAT(std::string(ParseManifest(FormatManifest(manifest)).status().message()),
              HasSubstr("files: got over 4096"));
}

TEST(ManifestTest, WhatAStrangerWroteIsShownWithoutControlCharacters) {
  const std::string good = FormatManifest(Example());
  const std::string escape = "\\u001b]0;pwned\\u0007";
  for (const auto& [from, to] :
       {std::pair<std::string, std::string>(Sha256("digest").Hex(), escape),
        {"\"float32\"", absl::StrCat("\"", escape, "\"")},
        {"\"name\": \"image\", \"dtype\": \"float32\", \"shape\": [\"N\"",
         absl::StrCat("\"name\": \"", escape, "\", \"dtype\": \"float32\", \"shape\": [-1")}}) {
    ASSERT_NE(good.find(from), std::string::npos) << from;
    const auto refused = ParseManifest(absl::StrReplaceAll(good, {{from, to}}));
    ASSERT_FALSE(refused.ok());
    const std::string message(refused.status().message());
    EXPECT_THAT(message, HasSubstr("\\x1b]0;pwned\\x07"));
    EXPECT_EQ(message.find('\x1b'), std::string::npos);
  }
}

}  // namespace
}  // namespace portico
