#include "node/frontend/hub_pages.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hub/publish.h"
#include "node/frontend/example_call.h"
#include "node/frontend/module_page.h"
#include "node/node.h"
#include "node/observe/html.h"
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
  const HttpReply page = Get("/hub/<script>", "", {{"accept", "text/html"}});
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
  EXPECT_THAT(CurlCommand("http://h/p", std::string(5000, ' '), "http://h/b", true),
              AllOf(StartsWith("curl -s 'http://h/b' -H \"Authorization"), HasSubstr("| curl -s 'http://h/p'"),
                    HasSubstr("--data-binary @-")));
}

}  // namespace
}  // namespace portico
