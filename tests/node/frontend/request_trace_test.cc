// What becomes of a request's spans, from the client's header to /debug/traces and a collector: two real nodes, one of
// which has a portal to the other.

#include <map>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/node.h"
#include "simdjson.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/node/observe/otlp_collector.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kTraceId[] = "0123456789abcdef0123456789abcdef";
constexpr char kSampled[] = "traceparent: 00-0123456789abcdef0123456789abcdef-00000000000000aa-01\r\n";
constexpr char kNotSampled[] = "traceparent: 00-0123456789abcdef0123456789abcdef-00000000000000aa-00\r\n";

struct ReadSpan {
  std::string node;
  std::string id;
  std::string parent;
};

/// Name → span, of the first trace.
std::map<std::string, ReadSpan> FirstTrace(const std::string& json) {
  simdjson::dom::parser parser;
  std::map<std::string, ReadSpan> spans;
  const simdjson::dom::element root = parser.parse(json);
  const auto text = [](simdjson::dom::element of, const char* key) {
    return std::string(std::string_view(of[key].get_string()));
  };
  for (const simdjson::dom::element trace : root["traces"].get_array()) {
    for (const simdjson::dom::element span : trace["spans"].get_array()) {
      spans[absl::StrCat(text(span, "node"), " ", text(span, "name"))] = {text(span, "node"), text(span, "span_id"),
                                                                          text(span, "parent_span_id")};
    }
    break;
  }
  return spans;
}

class RequestTraceTest : public ::testing::Test {
 protected:
  RequestTraceTest() {
    ModelBuilder encoder;
    encoder.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2}).Node("Neg", {"x"}, {"y"});
    encoder.WriteTo(folder_.File("encoder/1/model.onnx"));
    ModelBuilder head;
    head.Input("x", DType::kFloat, {"N", 2}).Output("z", DType::kFloat, {"N", 2});
    head.Portal("Remote", "hub/encoder", {"x"}, {"y"}, {DType::kFloat}, {"N,2"}).Node("Abs", {"y"}, {"z"});
    head.WriteTo(folder_.File("head/1/model.onnx"));
  }
  ~RequestTraceTest() override {
    for (const auto& node : {&apps_, &hub_}) {
      if (*node != nullptr) (*node)->Stop();
    }
  }

  void Start(absl::Duration slow, double sample, const std::string& otlp = "") {
    Node::Options options;
    options.traces.slow = slow;
    options.traces.sample = sample;
    options.name = "hub";
    options.models = {{"hub/encoder", folder_.Folder("encoder")}};
    options.peer = "zmq+tcp://127.0.0.1:0";
    hub_ = Started(options);
    options.name = "apps";
    options.models = {{"head", folder_.Folder("head")}};
    options.peers["hub/encoder"] = {hub_->peer_endpoint()};
    options.http.address = "127.0.0.1:0";
    options.otlp.endpoint = otlp;
    options.otlp.interval = absl::Milliseconds(10);
    apps_ = Started(options);
    http_ = std::make_unique<RawHttp>(apps_->http_address());
  }

  RawResponse Predict(const std::string& headers) {
    const RawResponse response = http_->Post("/v1/models/head:predict", R"({"instances": [[1,-2]]})", headers);
    EXPECT_EQ(response.code, 200) << response.body;
    return response;
  }
  std::string Traces(const std::string& query) { return http_->Get("/debug/traces" + query).body; }

  /// That the trace holds all that the two nodes did, each below what caused it.
  static void ExpectWhole(std::map<std::string, ReadSpan> spans) {
    const std::string root = spans["apps request"].id;
    EXPECT_EQ(spans["apps model head"].parent, root);
    const std::map<std::string, std::string> models = {{"apps", spans["apps model head"].id},
                                                       {"hub", spans["hub model hub/encoder"].id}};
    EXPECT_EQ(spans["apps portal hub/encoder"].parent, models.at("apps"));
    const std::string portal = spans["apps portal hub/encoder"].id;
    EXPECT_EQ(spans["hub model hub/encoder"].parent, portal);
    for (const char* node : {"apps", "hub"}) {
      std::string segment;
      for (const auto& [name, span] : spans) {
        if (name.starts_with(absl::StrCat(node, " segment "))) segment = span.id;
        if (name.starts_with(absl::StrCat(node, " segment "))) {
          EXPECT_EQ(span.parent, models.at(node));
        }
      }
      EXPECT_NE(segment, "") << node;
      EXPECT_EQ(spans[absl::StrCat(node, " queue")].parent, segment);
      EXPECT_EQ(spans[absl::StrCat(node, " batch of 1 rows, 1 calls")].parent, segment);
    }
    EXPECT_EQ(spans.size(), 10u);
  }

  TempFolder folder_;
  std::unique_ptr<Node> hub_;
  std::unique_ptr<Node> apps_;
  std::unique_ptr<RawHttp> http_;

 private:
  static std::unique_ptr<Node> Started(const Node::Options& options) {
    auto node = Node::Start(options);
    EXPECT_TRUE(node.ok()) << node.status();
    return *std::move(node);
  }
};

TEST_F(RequestTraceTest, SampledRequestsAreKeptWholeAndAnswered) {
  Start(absl::ZeroDuration(), 0);
  EXPECT_THAT(Predict(kSampled).head, HasSubstr(absl::StrCat("traceparent: 00-", kTraceId, "-")));
  const std::string json = Traces(absl::StrCat("?id=", kTraceId));
  EXPECT_THAT(json, HasSubstr("\"sampled\":true,\"slow\":false"));
  std::map<std::string, ReadSpan> spans = FirstTrace(json);
  EXPECT_EQ(spans["apps request"].parent, "00000000000000aa");
  ExpectWhole(spans);
  EXPECT_EQ(Traces("?slow=1"), R"({"traces":[]})");
}

TEST_F(RequestTraceTest, TheAnswerNamesTheRootSpan) {
  Start(absl::ZeroDuration(), 0);
  const std::string head = Predict(kSampled).head;
  const std::string root = FirstTrace(Traces(""))["apps request"].id;
  EXPECT_THAT(head, HasSubstr(absl::StrCat("traceparent: 00-", kTraceId, "-", root, "-01\r\n")));
}

TEST_F(RequestTraceTest, OthersLeaveNothing) {
  Start(absl::ZeroDuration(), 0);
  EXPECT_THAT(Predict(kNotSampled).head, Not(HasSubstr("traceparent")));
  Predict("");
  Predict("traceparent: nonsense\r\n");
  EXPECT_EQ(Traces(""), R"({"traces":[]})");
}

TEST_F(RequestTraceTest, SlowRequestsAreKeptWithTheirInnerHopsThoughNotSampled) {
  // Every request is slow, and every piece is long enough.
  Start(absl::Nanoseconds(20), 0);
  EXPECT_THAT(Predict(kNotSampled).head, Not(HasSubstr("traceparent")));
  std::string json = Traces("?slow=1");
  EXPECT_THAT(json, StartsWith(absl::StrCat("{\"traces\":[{\"trace_id\":\"", kTraceId)));
  EXPECT_THAT(json, HasSubstr("\"sampled\":false,\"slow\":true"));
  ExpectWhole(FirstTrace(json));
  // One that brings no trace gets an id.
  Predict("");
  json = Traces("?slow=1");
  EXPECT_THAT(json, Not(StartsWith(absl::StrCat("{\"traces\":[{\"trace_id\":\"", kTraceId))));
  EXPECT_THAT(json, Not(HasSubstr("00000000000000000000000000000000")));
  ExpectWhole(FirstTrace(json));
}

TEST_F(RequestTraceTest, RequestsWithoutATraceAreSampledByTheShareThatTheNodeIsTold) {
  Start(absl::ZeroDuration(), 1);
  EXPECT_THAT(Predict("").head, Not(HasSubstr("traceparent")));
  const std::string json = Traces("");
  EXPECT_THAT(json, HasSubstr("\"sampled\":true"));
  std::map<std::string, ReadSpan> spans = FirstTrace(json);
  EXPECT_EQ(spans["apps request"].parent, "0000000000000000");
  ExpectWhole(spans);
}

TEST_F(RequestTraceTest, WhatFailedSaysWhatBecameOfIt) {
  Start(absl::ZeroDuration(), 0);
  hub_->Stop();
  const RawResponse response = http_->Post("/v1/models/head:predict", R"({"instances": [[1,-2]]})", kSampled);
  EXPECT_EQ(response.code, 503) << response.body;
  const std::string json = Traces("");
  EXPECT_THAT(json, ContainsRegex(R"("name":"request",[^}]*"error":"HTTP 503")"));
  EXPECT_THAT(json, ContainsRegex(R"("name":"model head",[^}]*"error":"UNAVAILABLE")"));
}

TEST_F(RequestTraceTest, OtherFormsAreAnsweredByNameAndUnknownOnesRefused) {
  Start(absl::ZeroDuration(), 0);
  Predict(kSampled);
  EXPECT_THAT(Traces("?format=chrome"), HasSubstr("\"traceEvents\":["));
  EXPECT_THAT(Traces("?format=otlp"), HasSubstr("\"resourceSpans\":["));
  const RawResponse refused = http_->Get("/debug/traces?format=jaeger");
  EXPECT_EQ(refused.code, 400);
  EXPECT_THAT(refused.body, HasSubstr("got 'jaeger', want json, chrome or otlp"));
}

TEST_F(RequestTraceTest, ACollectorGetsKeptTracesWithTheirState) {
  OtlpCollector collector;
  Start(absl::ZeroDuration(), 0, collector.endpoint());
  Predict(absl::StrCat(kSampled, "tracestate: vendor=a,other=b\r\n"));
  const std::vector<OtlpCollector::Received> spans = collector.Await(10);
  ASSERT_EQ(spans.size(), 10u);
  for (const OtlpCollector::Received& span : spans) {
    EXPECT_EQ(span.trace_id, kTraceId);
    EXPECT_EQ(span.state, "vendor=a,other=b");
    EXPECT_LE(span.start_ns, span.end_ns);
  }
  EXPECT_THAT(http_->Get("/metrics").body, HasSubstr("portico_trace_spans_dropped_total 0\n"));
  // One that is too long is dropped: half of one says nothing.
  Predict(absl::StrCat(kSampled, "tracestate: ", std::string(600, 'v'), "\r\n"));
  EXPECT_EQ(collector.Await(20)[10].state, "");
}

TEST_F(RequestTraceTest, ACollectorThatIsAwayLeavesTheNodeServing) {
  const std::string nobody = OtlpCollector().endpoint();
  Start(absl::ZeroDuration(), 1, nobody);
  for (int i = 0; i < 20; ++i) Predict("");
  EXPECT_THAT(Traces(""), HasSubstr("apps"));
}

}  // namespace
}  // namespace portico
