#include "node/frontend/hub_pages.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hub/publish.h"
#include "node/frontend/example_call.h"
#include "node/frontend/module_page.h"
#include "node/node.h"
#include "node/observe/html.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kHostile[] = "<script>alert(1)</script>\"'&\x01\xff";

/// A node that serves acme/encoder/1 from a store, and its pages.
class HubPagesTest : public ::testing::Test {
 protected:
  HubPagesTest() {
    ModelBuilder model;
    model.Input("image", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2});
    model.Node("Relu", {"image"}, {"y"}).WriteTo(folder_.File("source/1/model.onnx"));
    Publication publication;
    publication.handle = *ParseHandle("acme/encoder/1");
    publication.source = folder_.path() + "/source/1";
    publication.description = "<script>alert(1)</script>\"'&";
    publication.family = "encoder";
    const auto published = Publish(folder_.path() + "/store", publication, Clock::Real());
    EXPECT_TRUE(published.ok()) << published.status();
    digest_ = published->manifest.digest;
    Node::Options options;
    options.models = {{"acme/encoder", folder_.path() + "/store/acme/encoder"}};
    auto node = Node::Start(std::move(options));
    EXPECT_TRUE(node.ok()) << node.status();
    node_ = *std::move(node);
    catalog_ = std::make_unique<ModuleCatalog>(node_->inference().servables());
    catalog_->SetModels({{"acme/encoder", folder_.path() + "/store/acme/encoder"}});
    pages_ = std::make_unique<HubPages>(HubPages::Options(), *catalog_);
  }

  /// A mesh in which digit calls the module by digest, mail by its name, and other another digest.
  void SetMesh() {
    Revision revision;
    revision.mesh = "m";
    revision.models.push_back(
        {.name = "acme/encoder", .path = folder_.path() + "/store/acme/encoder", .pins = {{1, digest_}}});
    revision.models.push_back({.name = "digit", .path = "/x", .calls = {{3, "acme/encoder", digest_}}});
    revision.models.push_back({.name = "mail", .path = "/x", .calls = {{1, "acme/encoder", {}}}});
    revision.models.push_back({.name = "other", .path = "/x", .calls = {{1, "acme/encoder", Sha256("x")}}});
    revision.nodes.push_back({.name = "hub", .replica = 1, .serve = {"acme/encoder"}});
    revision.nodes.push_back({.name = "apps", .serve = {"digit"}});
    catalog_->SetRevision(revision);
  }

  HttpReply Get(const std::string& path, const std::string& query = "", std::map<std::string, std::string> headers = {},
                const std::string& method = "GET") {
    HttpRequest request;
    request.method = method;
    request.path = path;
    request.query = query;
    request.header = [&](absl::string_view name) -> absl::string_view {
      const auto found = headers.find(std::string(name));
      return found == headers.end() ? absl::string_view() : absl::string_view(found->second);
    };
    HttpReply answer;
    pages_->Handle(request, [&](HttpReply reply) { answer = std::move(reply); });
    return answer;
  }

  TempFolder folder_;
  Digest digest_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<ModuleCatalog> catalog_;
  std::unique_ptr<HubPages> pages_;
};

TEST(ExampleCallTest, InputsOfAnySizeAreBounded) {
  Signature signature;
  signature.inputs.resize(1);
  TensorSpec& input = signature.inputs[0];
  input.name = "x";
  input.dtype = DType::kFloat;
  input.has_rank = true;
  constexpr int64_t kMost = int64_t{kMaxExampleElements};
  for (const std::vector<int64_t>& extents :
       {std::vector<int64_t>{kMost, int64_t{1} << 44}, {kMost, 2}, {int64_t{1} << 62, 4}, {kMost + 1}}) {
    input.dims.clear();
    for (const int64_t extent : extents) input.dims.push_back({.extent = extent});
    for (const RestApi api : {RestApi::kTfs, RestApi::kV2}) {
      const auto body = ExampleBody(api, signature);
      EXPECT_EQ(body.status().code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_THAT(body.status().message(), HasSubstr("more than"));
    }
  }
}

TEST_F(HubPagesTest, SaysWhoUsesAndServesTheModule) {
  SetMesh();
  const HttpReply reply = Get("/hub/acme/encoder/1");
  EXPECT_EQ(reply.code, 200);
  EXPECT_EQ(reply.content_type, "application/json");
  EXPECT_THAT(reply.body,
              AllOf(HasSubstr("\"used_by\":[{\"model\":\"digit\",\"version\":3},{\"model\":\"mail\",\"version\":1}]"),
                    HasSubstr("\"served_by\":[\"hub/1\"]"), HasSubstr("\"state\":\"AVAILABLE\""),
                    HasSubstr("\"digest\":\"" + digest_.Hex()), HasSubstr("\"axis\":\"rows\"")));
  const HttpReply list = Get("/hub");
  EXPECT_THAT(list.body, AllOf(StartsWith("{\"mesh\":\"m\",\"modules\":[{\"handle\":\"acme/encoder/1\""),
                               HasSubstr("\"page\":\"/hub/acme/encoder/1\"")));
}

TEST_F(HubPagesTest, WithoutAMeshTheNodesOwnModulesAreThere) {
  EXPECT_THAT(Get("/hub").body, AllOf(HasSubstr("\"mesh\":\"\""), HasSubstr("acme/encoder/1")));
  EXPECT_THAT(Get("/hub", "format=html").body, HasSubstr("Modules of this node"));
}

TEST_F(HubPagesTest, TheFormatFollowsTheClient) {
  const std::string path = "/hub/acme/encoder/1";
  const std::map<std::string, std::string> browser = {{"accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}};
  for (const auto& [reply, html] :
       {std::pair(Get(path, "", browser), true), std::pair(Get(path), false),
        std::pair(Get(path, "", {{"accept", "*/*"}}), false), std::pair(Get(path, "format=html"), true),
        std::pair(Get(path, "format=json", browser), false), std::pair(Get(path + ".json", "", browser), false),
        std::pair(Get("/hub", "", browser), true), std::pair(Get("/hub.json", "", browser), false)}) {
    EXPECT_EQ(reply.code, 200);
    EXPECT_EQ(reply.content_type, html ? "text/html; charset=utf-8" : "application/json");
    EXPECT_EQ(reply.body.starts_with("<!DOCTYPE html>"), html);
  }
}

TEST_F(HubPagesTest, ErrorsHaveTheFormatThatPagesHave) {
  const std::map<std::string, std::string> browser = {{"accept", "text/html"}};
  for (const auto& [reply, html] :
       {std::pair(Get("/hub/acme/none/1", "", browser), true), std::pair(Get("/hub/acme/none/1"), false),
        std::pair(Get("/hub/acme/none/1", "format=html"), true),
        std::pair(Get("/hub/acme/none/1", "format=json", browser), false),
        std::pair(Get("/hub/acme/none/1.json", "", browser), false),
        std::pair(Get("/hub/acme/none/1", "format=html&wrong=1"), true)}) {
    EXPECT_GE(reply.code, 400);
    EXPECT_EQ(reply.content_type, html ? "text/html; charset=utf-8" : "application/json");
    EXPECT_EQ(reply.body.starts_with("<!DOCTYPE html>"), html);
  }
}

TEST_F(HubPagesTest, PagesRunNothingAndLoadNothing) {
  const HttpReply reply = Get("/hub/acme/encoder/1", "format=html");
  EXPECT_THAT(reply.body, AllOf(HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"),
                                Not(HasSubstr("<script")), Not(HasSubstr("src="))));
  const std::map<std::string, std::string> headers(reply.headers.begin(), reply.headers.end());
  EXPECT_THAT(headers.at("Content-Security-Policy"),
              AllOf(StartsWith("default-src 'none'; style-src 'sha256-"), HasSubstr("frame-ancestors 'none'")));
  EXPECT_EQ(headers.at("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(HtmlText(kHostile), "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;??");
  EXPECT_EQ(HtmlText("ü\nb"), "ü\nb");
}

TEST_F(HubPagesTest, ErrorsSayWhatThereIs) {
  const HttpReply none = Get("/hub/acme/encoder/2");
  EXPECT_EQ(none.code, 404);
  EXPECT_THAT(none.body, HasSubstr("it has acme/encoder/1; see /hub"));
  EXPECT_EQ(Get("/hub/acme/encoder").code, 400);
  EXPECT_EQ(Get("/hub/../../etc/passwd").code, 400);
  EXPECT_EQ(Get("/hub", "format=xml").code, 400);
  EXPECT_EQ(Get("/hub", "", {}, "POST").code, 405);
  const HttpReply none_page = Get("/hub/acme/encoder/2", "format=html");
  EXPECT_THAT(none_page.body, HasSubstr("<title>NOT_FOUND</title>"));
  const HttpReply page = Get("/hub/<script>", "", {{"accept", "text/html"}});
  EXPECT_THAT(page.body, HasSubstr("<title>INVALID_ARGUMENT</title>"));
  EXPECT_EQ(page.code, 400);
  EXPECT_THAT(page.body, AllOf(StartsWith("<!DOCTYPE html>"), Not(HasSubstr("<script"))));
}

TEST_F(HubPagesTest, ExamplesGoWhereTheReaderIs) {
  EXPECT_THAT(Get("/hub/acme/encoder/1", "", {{"host", "models.example.com:8501"}}).body,
              HasSubstr("http://models.example.com:8501/v1/models/acme--encoder/versions/1:predict"));
  EXPECT_THAT(Get("/hub/acme/encoder/1", "", {{"host", "x'; rm -rf /"}}).body,
              AllOf(HasSubstr("http://localhost/v1/"), Not(HasSubstr("rm -rf"))));
  EXPECT_THAT(Get("/hub/acme/encoder/1", "", {{"authorization", "Bearer x"}}).body, HasSubstr("Bearer $PORTICO_TOKEN"));
  EXPECT_THAT(Get("/hub/acme/encoder/1", "example=tfs").body, StartsWith("{\"inputs\":{\"image\":"));
}

TEST_F(HubPagesTest, AManifestOfAnotherModelSaysNothing) {
  Revision revision;
  revision.models.push_back(
      {.name = "acme/encoder", .path = folder_.path() + "/store/acme/encoder", .pins = {{1, Sha256("other")}}});
  catalog_->SetRevision(revision);
  EXPECT_EQ(Get("/hub/acme/encoder/1").code, 404);
}

TEST_F(HubPagesTest, ACopyUnderAnotherNameIsNotTheModule) {
  const std::string path = folder_.path() + "/store/acme/encoder";
  Revision revision;
  revision.models.push_back({.name = "acme/copy", .path = path, .pins = {{1, digest_}}});
  revision.models.push_back({.name = "acme/encoder", .path = path, .pins = {{1, digest_}}});
  catalog_->SetRevision(revision);
  ASSERT_EQ(catalog_->List().size(), 1u);
  EXPECT_TRUE(catalog_->Find(*ParseHandle("acme/encoder/1")).ok());
  revision.models.pop_back();
  catalog_->SetRevision(revision);
  EXPECT_EQ(Get("/hub/acme/encoder/1").code, 404);
}

TEST_F(HubPagesTest, UsersAreNotKnownWhereTheRevisionDoesNotSay) {
  SetMesh();
  EXPECT_THAT(Get("/hub/acme/encoder/1", "format=html").body, HasSubstr("digit version 3, mail version 1"));
  Revision revision;
  revision.models.push_back(
      {.name = "acme/encoder", .path = folder_.path() + "/store/acme/encoder", .pins = {{1, digest_}}});
  revision.calls_left_out = true;
  catalog_->SetRevision(revision);
  EXPECT_THAT(Get("/hub/acme/encoder/1").body, Not(HasSubstr("used_by")));
  EXPECT_THAT(Get("/hub/acme/encoder/1", "format=html").body, HasSubstr("not known: "));
}

/// A file that keeps who opens it until it is released.
class SlowFile {
 public:
  explicit SlowFile(std::string path) : path_(std::move(path)) {
    std::filesystem::remove(path_);
    EXPECT_EQ(mkfifo(path_.c_str(), 0600), 0);
  }
  ~SlowFile() { Release(); }
  /// For good.
  void Release() {
    if (fd_ < 0) fd_ = open(path_.c_str(), O_RDWR | O_CLOEXEC);
  }

 private:
  const std::string path_;
  int fd_ = -1;
};

TEST_F(HubPagesTest, AModulesPageReadsNoOtherManifest) {
  std::filesystem::create_directories(folder_.path() + "/slow/1");
  Revision revision;
  revision.models.push_back({.name = "acme/a", .path = folder_.path() + "/slow", .pins = {{1, digest_}}});
  revision.models.push_back(
      {.name = "acme/encoder", .path = folder_.path() + "/store/acme/encoder", .pins = {{1, digest_}}});
  catalog_->SetRevision(revision);
  SlowFile slow(folder_.path() + "/slow/1/manifest.json");
  auto page = std::async(std::launch::async, [&] { return Get("/hub/acme/encoder/1").code; });
  EXPECT_EQ(page.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  slow.Release();
  EXPECT_EQ(page.get(), 200);
}

TEST_F(HubPagesTest, LargeRequestsDoNotWaitForPages) {
  Node::Options options;
  options.models = {{"acme/encoder", folder_.path() + "/store/acme/encoder"}};
  options.http.address = "127.0.0.1:0";
  const auto node = Node::Start(std::move(options));
  ASSERT_TRUE(node.ok()) << node.status();
  SlowFile slow(folder_.path() + "/store/acme/encoder/1/manifest.json");
  RawHttp reader((*node)->http_address()), client((*node)->http_address());
  reader.Send("GET /hub HTTP/1.1\r\nHost: x\r\n\r\n");
  absl::SleepFor(absl::Milliseconds(50));
  std::string rows;
  for (int i = 0; i < 20000; ++i) absl::StrAppend(&rows, i == 0 ? "" : ",", "[1,2]");
  const std::string body = absl::StrCat("{\"instances\":[", rows, "]}");
  ASSERT_GT(body.size(), size_t{64} << 10);
  client.Send(absl::StrCat("POST /v1/models/acme--encoder:predict HTTP/1.1\r\nHost: x\r\nContent-Length: ", body.size(),
                           "\r\n\r\n", body));
  EXPECT_EQ(client.Receive().code, 200);
  slow.Release();
  EXPECT_EQ(reader.Receive().code, 200);
}

TEST(ExampleCallTest, ElementsAreCountedWithoutMakingThem) {
  Signature signature;
  signature.name = std::string(kDefaultSignature);
  for (const char* name : {"x", "y"}) {
    TensorSpec& input = signature.inputs.emplace_back();
    input.name = name;
    input.dtype = DType::kFloat16;
    input.dims = {{-1, "N"}, {700, ""}};
  }
  EXPECT_EQ(*ExampleElements(RestApi::kTfs, signature), 1400u);
  EXPECT_THAT(ExampleElements(RestApi::kV2, signature).status().message(), HasSubstr("no JSON"));
}

TEST_F(HubPagesTest, LargeBodiesAreNotOnPages) {
  EXPECT_THAT(Get("/hub/acme/encoder/1").body, AllOf(HasSubstr("\"body\":"), HasSubstr("\"body_url\":")));
  ModelBuilder model;
  model.Input("image", DType::kFloat, {"N", 2000}).Output("y", DType::kFloat, {"N", 2000});
  model.Node("Relu", {"image"}, {"y"}).WriteTo(folder_.File("wide/1/model.onnx"));
  Publication publication;
  publication.handle = *ParseHandle("acme/wide/1");
  publication.source = folder_.path() + "/wide/1";
  const auto published = Publish(folder_.path() + "/store", publication, Clock::Real());
  ASSERT_TRUE(published.ok()) << published.status();
  Node::Options options;
  options.models = {{"acme/wide", folder_.path() + "/store/acme/wide"}};
  auto node = Node::Start(std::move(options));
  ASSERT_TRUE(node.ok()) << node.status();
  ModuleCatalog catalog((*node)->inference().servables());
  catalog.SetModels({{"acme/wide", folder_.path() + "/store/acme/wide"}});
  pages_ = std::make_unique<HubPages>(HubPages::Options(), catalog);
  const std::string page = Get("/hub/acme/wide/1").body;
  EXPECT_THAT(page, AllOf(Not(HasSubstr("\"body\":")), HasSubstr("\"body_url\":"), HasSubstr("--data-binary @-")));
  EXPECT_LT(page.size(), 4096u);
  EXPECT_GT(Get("/hub/acme/wide/1", "example=tfs").body.size(), 4000u);
  pages_.reset();
}

TEST(ExampleCallTest, SaysWhyThereIsNone) {
  Signature signature;
  signature.name = std::string(kDefaultSignature);
  TensorSpec& input = signature.inputs.emplace_back();
  input.name = "x";
  input.dtype = DType::kFloat;
  input.dims = {{-1, "N"}, {4096, ""}, {4096, ""}};
  EXPECT_THAT(ExampleBody(RestApi::kTfs, signature).status().message(), HasSubstr("more than 1048576 elements"));
  input.dims = {{-1, "N"}};
  input.axis = AxisKind::kRagged;
  EXPECT_THAT(ExampleBody(RestApi::kTfs, signature).status().message(), HasSubstr("ragged"));
  input.axis = AxisKind::kRows;
  input.dtype = DType::kFloat16;
  EXPECT_THAT(ExampleBody(RestApi::kV2, signature).status().message(), HasSubstr("no JSON"));
  EXPECT_TRUE(ExampleBody(RestApi::kTfs, signature).ok());
  input.has_rank = false;
  EXPECT_THAT(ExampleBody(RestApi::kTfs, signature).status().message(), HasSubstr("rank"));
}

TEST(ExampleCallTest, LargeBodiesAreFetched) {
  EXPECT_EQ(CurlCommand("http://h/p", "{'a'}", "http://h/b", false),
            "curl -s 'http://h/p' -H 'Content-Type: application/json' -d '{'\\''a'\\''}'");
  EXPECT_THAT(CurlCommand("http://h/p", "", "http://h/b", true),
              AllOf(StartsWith("curl -s 'http://h/b' -H \"Authorization"), HasSubstr("| curl -s 'http://h/p'"),
                    HasSubstr("--data-binary @-")));
}

}  // namespace
}  // namespace portico
