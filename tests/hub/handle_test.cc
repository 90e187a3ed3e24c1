#include "hub/handle.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

TEST(HandleTest, PartsAreRead) {
  const auto handle = ParseHandle("acme/image.encoder-v2_b/3");
  ASSERT_TRUE(handle.ok()) << handle.status();
  EXPECT_EQ(handle->publisher, "acme");
  EXPECT_EQ(handle->name, "image.encoder-v2_b");
  EXPECT_EQ(handle->version, 3);
  EXPECT_EQ(handle->ToString(), "acme/image.encoder-v2_b/3");
  EXPECT_EQ(handle->Model(), "acme/image.encoder-v2_b");
  EXPECT_EQ(ParseHandle("4D/e/9223372036854775807")->version, 9223372036854775807);
  EXPECT_TRUE(ParseHandle(absl::StrCat(std::string(64, 'a'), "/", std::string(64, 'b'), "/1")).ok());
}

struct Malformed {
  std::string text;
  /// Both are in the message: what is wrong, and the nearest handle or what to do.
  std::string got;
  std::string want;
};

class MalformedHandleTest : public ::testing::TestWithParam<Malformed> {};

TEST_P(MalformedHandleTest, IsRefusedWithWhatIsWrongAndWhatWouldBeRight) {
  const auto handle = ParseHandle(GetParam().text);
  ASSERT_EQ(handle.status().code(), absl::StatusCode::kInvalidArgument) << GetParam().text;
  const std::string message(handle.status().message());
  EXPECT_THAT(message, HasSubstr(absl::StrCat("got ", GetParam().got)));
  EXPECT_THAT(message, HasSubstr(GetParam().want));
}

INSTANTIATE_TEST_SUITE_P(
    All, MalformedHandleTest,
    ::testing::Values(
        Malformed{"", "nothing", "want PUBLISHER/NAME/VERSION, acme/encoder/3 say"},
        Malformed{"  ", "blanks alone", "acme/encoder/3 say"},
        Malformed{" acme/encoder/3\n", "blanks around it", "want 'acme/encoder/3'"},
        Malformed{"encoder", "a name alone", "want PUBLISHER/encoder/VERSION; 'portico hub list' shows"},
        Malformed{"acme/encoder", "no version", "'acme/encoder/1' say; 'portico hub list acme/encoder' shows"},
        Malformed{"encoder/3", "no publisher", "want 'PUBLISHER/encoder/3'"},
        Malformed{"acme/models/encoder/3", "4 parts", "'models/encoder/3' say"},
        Malformed{"acme//encoder/3", "two slashes in a row", "want 'acme/encoder/3'"},
        Malformed{"acme/encoder/3/", "a slash at its end", "want 'acme/encoder/3'"},
        Malformed{"/acme/encoder/3", "a path", "want 'acme/encoder/3'"},
        Malformed{"./hub/acme/encoder/3", "a path", "want 'acme/encoder/3' without anything in front"},
        Malformed{"../acme/encoder/3", "a path", "want 'acme/encoder/3'"},
        Malformed{"~/acme/encoder/3", "a path", "want 'acme/encoder/3'"},
        Malformed{"https://models.example.com/hub/acme/encoder/3", "a URL",
                  "'acme/encoder/3', and where it is as --store"},
        Malformed{"acme/encoder:3", "':' in it", "want 'acme/encoder/3'"},
        Malformed{"acme/encoder@3", "'@' in it", "want 'acme/encoder/3'"},
        Malformed{"acme\\encoder\\3", "'\\' in it", "want 'acme/encoder/3'"},
        Malformed{"acme/encoder/latest", "version 'latest'", "'portico hub list acme/encoder' shows"},
        Malformed{"acme/encoder/*", "version '*'", "would mean something else tomorrow"},
        Malformed{"acme/encoder/v3", "version 'v3'", "want 'acme/encoder/3'"},
        Malformed{"acme/encoder/1.2.0", "version '1.2.0'", "want 'acme/encoder/1'"},
        Malformed{"acme/encoder/-1", "version '-1'", "want 'acme/encoder/1'"},
        Malformed{"acme/encoder/new", "version 'new'", "'portico hub list acme/encoder' shows"},
        Malformed{"acme/encoder/0", "version 0", "'acme/encoder/1' say"},
        Malformed{"acme/encoder/007", "zeros in front", "want 'acme/encoder/7'"},
        Malformed{"acme/encoder/9223372036854775808", "a version that is too large", "at most 9223372036854775807"},
        Malformed{"ac me/encoder/3", "' ' in the publisher", "'ac-me/encoder/3' say"},
        Malformed{"acme/enc+der/3", "'+' in the name", "'acme/enc-der/3' say"},
        Malformed{"acme/enc\x1b[31m/3", "'\\x1b' in the name", "'acme/enc-31m/3' say"},
        Malformed{"acme/.hidden/3", "a name that begins with '.'", "'acme/hidden/3' say"},
        Malformed{"-acme/encoder/3", "a publisher that begins with '-'", "'acme/encoder/3' say"},
        Malformed{"acme/../3", "a name that begins with '.'", "'acme/NAME/3' say"},
        Malformed{"acme/big--encoder/3", "'--' in the name, which stands for the slash over REST",
                  "'acme/big-encoder/3' say"},
        Malformed{"acme/42/3", "name '42', which looks like a version", "'acme/model-42/3'"},
        Malformed{std::string(65, 'a') + "/encoder/3", "a publisher of 65 bytes", "at most 64"},
        Malformed{"acme/" + std::string(70, 'b') + "/3", "a name of 70 bytes", "at most 64"}));

TEST(HandleTest, NearestHandlesAreHandles) {
  for (const char* text : {"ac me/enc+der/v03", "acme/big---x/3", "_x_/-y-/0012", "\xc3\xa4/\xff/1", "a/42/7"}) {
    const std::string message(ParseHandle(text).status().message());
    const size_t close = message.rfind('\'');
    ASSERT_NE(close, std::string::npos) << message;
    const size_t open = message.rfind('\'', close - 1);
    std::string nearest = message.substr(open + 1, close - open - 1);
    for (const auto& [word, good] : {std::pair("PUBLISHER", "p"), std::pair("NAME", "n"), std::pair("VERSION", "1")}) {
      if (const size_t at = nearest.find(word); at != std::string::npos)
        nearest.replace(at, std::string(word).size(), good);
    }
    EXPECT_TRUE(ParseHandle(nearest).ok()) << message;
  }
}

TEST(HandleTest, TextsAreCutAndEscapedInMessages) {
  const std::string message(ParseHandle(std::string(5000, '\x01')).status().message());
  EXPECT_LT(message.size(), 1200u);
  EXPECT_EQ(message.find('\x01'), std::string::npos);
}

TEST(HandleTest, ModelNamesDoNotLookLikeHandles) {
  EXPECT_TRUE(LooksLikeHandle("acme/encoder/3"));
  EXPECT_TRUE(LooksLikeHandle("acme/encoder/03"));
  EXPECT_FALSE(LooksLikeHandle("acme/encoder"));
  EXPECT_FALSE(LooksLikeHandle("digit"));
  for (const char* text : {"/a", "a//b", "/a/b", "a/b/c/1"}) EXPECT_FALSE(LooksLikeHandle(text)) << text;
  // Which are none, and no names of models either: what is wrong with a handle is said.
  for (const char* text : {"acme/encoder/latest", "acme/encoder/v3", "acme/encoder/", "acme/encoder/3/"}) {
    EXPECT_TRUE(LooksLikeHandle(text)) << text;
    EXPECT_FALSE(ParseHandle(text).ok()) << text;
  }
}

}  // namespace
}  // namespace portico
