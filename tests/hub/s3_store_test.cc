#include "hub/s3_store.h"

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hub/cache.h"
#include "hub/local_store.h"
#include "hub/s3_list.h"
#include "hub/s3_signature.h"
#include "tests/hub/file_server.h"
#include "tests/hub/hub_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

// The examples of AWS's documentation, "Signature Calculations for the Authorization Header".
const S3Keys kExampleKeys{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};
const absl::Time kExampleTime = absl::FromCivil(absl::CivilSecond(2013, 5, 24), absl::UTCTimeZone());

std::string Signature(const std::string& url, const HttpHeaders& extra = {}) {
  return SignS3Get(*ParseUrl(url), kExampleKeys, "us-east-1", kExampleTime, extra).back().second;
}

TEST(S3SignatureTest, IsThatOfTheDocumentedExamples) {
  EXPECT_THAT(Signature("https://examplebucket.s3.amazonaws.com/test.txt", {{"range", "bytes=0-9"}}),
              EndsWith("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
  EXPECT_THAT(Signature("https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J"),
              EndsWith("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
  EXPECT_THAT(Signature("https://examplebucket.s3.amazonaws.com/?lifecycle"),
              EndsWith("Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
}

TEST(S3ListTest, PagesAreRead) {
  const auto page = ParseS3Page(
      "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>"
      "<IsTruncated>true</IsTruncated><Contents><Key>a&amp;b/1</Key><Size>3</Size><Owner><ID>Key</ID></Owner>"
      "</Contents><Contents><Key>c</Key></Contents><NextContinuationToken>t==</NextContinuationToken>"
      "</ListBucketResult>");
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_THAT(page->keys, ElementsAre("a&b/1", "c"));
  EXPECT_EQ(page->next, "t==");
}

TEST(S3ListTest, HostileDocumentsAreRefused) {
  std::string deep = "<ListBucketResult>";
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  std::string many = "<ListBucketResult>";
  for (int i = 0; i < 10'001; ++i) many += "<Contents><Key>k</Key></Contents>";
  for (const std::string& text :
       {std::string(), std::string("no xml"), std::string("<html></html>"), std::string("<ListBucketResult>"), deep,
        many + "</ListBucketResult>",
        absl::StrCat("<ListBucketResult><Contents><Key>", std::string(2000, 'k'),
                     "</Key></Contents></ListBucketResult>"),
        std::string("<!DOCTYPE x [<!ENTITY a \"aaaa\">]><ListBucketResult><Name>&a;</Name></ListBucketResult>"),
        std::string("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>")}) {
    EXPECT_FALSE(ParseS3Page(text).ok()) << text.substr(0, 100);
  }
}

TEST(S3OriginTest, OneBucketsNameOnTwoServersIsTwoOrigins) {
  StoreOptions one, other;
  one.s3_endpoint = "http://127.0.0.1:9000";
  other.s3_endpoint = "http://127.0.0.1:9001";
  const auto first = OpenStore("s3://models/hub", one);
  const auto second = OpenStore("s3://models/hub", other);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ((*first)->url(), (*second)->url());
  EXPECT_NE((*first)->origin(), (*second)->origin());
}

/// Speaks as much of S3 over a store's folder, as `aws s3 sync FOLDER s3://models/hub` leaves it, as is asked of it:
/// pages of two keys.
class S3StoreTest : public ::testing::Test {
 protected:
  S3StoreTest() : server_("/nowhere") {
    hub_.Put("acme/encoder/1", 1, 8192);
    hub_.Put("acme/encoder/2", 2);
    hub_.Put("other/model/7", 3);
    server_.handler = [this](const FileServer::Request& request) { return Answer(request); };
    options_.s3_endpoint = server_.url();
    for (const char* name : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"}) {
      unsetenv(name);
    }
  }

  FileServer::Reply Answer(const FileServer::Request& request) {
    const std::vector<std::string> parts = absl::StrSplit(request.target, absl::MaxSplits('?', 1));
    if (parts.size() == 1) {
      if (!absl::StartsWith(parts[0], "/models/hub/")) return {404, "<Error><Code>NoSuchKey</Code></Error>", {}};
      const auto text = ReadFile(absl::StrReplaceAll(parts[0], {{"/models/hub", hub_.root()}}), 1 << 24);
      if (!text.ok()) return {404, "<Error><Code>NoSuchKey</Code></Error>", {}};
      return {200, *text, {}};
    }
    if (parts[0] != "/models" || !absl::StrContains(parts[1], "list-type=2&prefix=hub%2F")) return {404, "", {}};
    size_t from = 0;
    if (absl::StartsWith(parts[1], "continuation-token=")) {
      from = static_cast<size_t>(std::stoi(parts[1].substr(std::string("continuation-token=").size())));
    }
    const std::vector<std::string> keys = {"hub/acme/encoder/1/manifest.json", "hub/acme/encoder/1/model.onnx",
                                           "hub/acme/encoder/2/manifest.json", "hub/index.json",
                                           "hub/notes/manifest.json",          "hub/other/model/7/manifest.json"};
    std::string xml = "<ListBucketResult>";
    for (size_t i = from; i < std::min(from + 2, keys.size()); ++i) {
      absl::StrAppend(&xml, "<Contents><Key>", keys[i], "</Key></Contents>");
    }
    if (from + 2 < keys.size()) {
      absl::StrAppend(&xml, "<IsTruncated>true</IsTruncated><NextContinuationToken>", from + 2,
                      "</NextContinuationToken>");
    }
    return {200, xml + "</ListBucketResult>", {}};
  }

  HubFolder hub_;
  FileServer server_;
  StoreOptions options_;
};

TEST_F(S3StoreTest, ListsPageByPage) {
  const auto store = NewS3Store("s3://models/hub/", options_);
  ASSERT_TRUE(store.ok()) << store.status();
  const auto entries = (*store)->List();
  ASSERT_TRUE(entries.ok()) << entries.status();
  const auto local = (*NewLocalStore(hub_.root()))->List();
  ASSERT_EQ(entries->size(), local->size());
  for (size_t i = 0; i < entries->size(); ++i) {
    EXPECT_EQ((*entries)[i].handle, (*local)[i].handle);
    EXPECT_EQ((*entries)[i].digest, (*local)[i].digest);
  }
}

TEST_F(S3StoreTest, PullsAndGoesOnWhereItBroke) {
  const auto store = NewS3Store("s3://models/hub", options_);
  HubCache::Options cache;
  cache.folder = hub_.cache();
  cache.pause = absl::Milliseconds(1);
  server_.breaks = 2;
  auto opened = HubCache::Open(cache);
  const auto pulled = opened->Pull(**store, *ParseHandle("acme/encoder/1"));
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  for (const auto& request : server_.requests()) EXPECT_FALSE(request.headers.contains("authorization"));
}

TEST_F(S3StoreTest, RequestsAreSignedWhereThereAreKeys) {
  setenv("AWS_ACCESS_KEY_ID", "me", 1);
  EXPECT_FALSE(NewS3Store("s3://models/hub", options_).ok());
  setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
  setenv("AWS_SESSION_TOKEN", "lent", 1);
  setenv("AWS_REGION", "eu-central-1", 1);
  const auto store = NewS3Store("s3://models/hub", options_);
  ASSERT_TRUE(store.ok()) << store.status();
  ASSERT_TRUE((*store)->List().ok());
  for (const auto& request : server_.requests()) {
    const std::string& header = request.headers.at("authorization");
    EXPECT_THAT(header, HasSubstr("Credential=me/"));
    EXPECT_THAT(header, HasSubstr("/eu-central-1/s3/aws4_request"));
    EXPECT_EQ(request.headers.at("x-amz-security-token"), "lent");
    // The server's side: the same request, signed by who knows the secret.
    const std::string& date = request.headers.at("x-amz-date");
    const auto number = [&](size_t at, size_t digits) { return std::stoi(date.substr(at, digits)); };
    const absl::Time time = absl::FromCivil(
        absl::CivilSecond(number(0, 4), number(4, 2), number(6, 2), number(9, 2), number(11, 2), number(13, 2)),
        absl::UTCTimeZone());
    const Url url = *ParseUrl(absl::StrCat("http://", request.headers.at("host"), request.target));
    EXPECT_EQ(SignS3Get(url, {"me", "secret", "lent"}, "eu-central-1", time).back().second, header);
  }
}

TEST_F(S3StoreTest, RefusalsSayWhatToSet) {
  server_.handler = [](const FileServer::Request&) {
    return FileServer::Reply{403, "<Error><Code>AccessDenied</Code></Error>", {}};
  };
  const auto store = NewS3Store("s3://models/hub", options_);
  const absl::Status status = (*store)->List().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()), HasSubstr("AccessDenied"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("set AWS_ACCESS_KEY_ID"));
  EXPECT_FALSE(NewS3Store("s3://", options_).ok());
  EXPECT_FALSE(NewS3Store("s3://a?b/c", options_).ok());
}

}  // namespace
}  // namespace portico
