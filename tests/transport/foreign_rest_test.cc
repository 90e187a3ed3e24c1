// Servers of somebody else's make over REST, against an HTTP server of Beast's.

#include <atomic>
#include <boost/asio/ssl/context.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/test_certificates.h"
#include "tests/transport/one_of_each_dtype.h"
#include "tests/transport/scripted_http.h"
#include "tests/transport/scripted_peer.h"
#include "transport/transport.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Request = ScriptedHttp::Request;
using Response = ScriptedHttp::Response;

constexpr char kBinaryLength[] = "Inference-Header-Content-Length";

/// Answers both APIs. Inputs come back as outputs; what goes wrong is the model's name.
class RestServer {
 public:
  std::optional<Response> operator()(const Request& request) {
    MutexLock lock(&mutex_);
    const std::string target(request.target());
    if (request.method() == boost::beast::http::verb::get) return Probe(target);
    targets_.push_back(target);
    headers_.clear();
    for (const auto& field : request) headers_[std::string(field.name_string())] = std::string(field.value());
    body_ = request.body();
    const auto is = [&](absl::string_view model) {
      return absl::StrContains(target, absl::StrCat("/models/", model, "/")) ||
             absl::StrContains(target, absl::StrCat("/models/", model, ":"));
    };
    if (is("slow")) return std::nullopt;
    if (is("full")) return ScriptedHttp::Answer(429, R"({"error":"queue is full"})");
    if (is("wrong")) return ScriptedHttp::Answer(400, R"({"detail":"no such input"})");
    if (is("away")) return ScriptedHttp::Answer(503, "come back later");
    if (is("broken")) return ScriptedHttp::Answer(200, answer);
    if (is("binary") && headers_.count(kBinaryLength) == 0) {
      return Binary(R"({"outputs":[{"name":"y","datatype":"INT32","shape":[2],"parameters":{"binary_data_size":8}}]})",
                    std::string("\1\0\0\0\2\0\0\0", 8));
    }
    if (headers_.count(kBinaryLength) != 0) {
      const size_t json = std::stoul(headers_[kBinaryLength]);
      return Binary(Echoed(request.body().substr(0, json)), request.body().substr(json));
    }
    Response response = ScriptedHttp::Answer(200, Echoed(request.body()));
    if (is("closing")) response.keep_alive(false);
    return response;
  }

  std::vector<std::string> targets() {
    MutexLock lock(&mutex_);
    return targets_;
  }
  std::string header(const std::string& name) {
    MutexLock lock(&mutex_);
    return headers_[name];
  }
  std::string body() {
    MutexLock lock(&mutex_);
    return body_;
  }

  std::atomic<bool> ready{true};
  /// Of model "broken"; set before it is asked.
  std::string answer;

 private:
  static std::string Echoed(const std::string& json) {
    return absl::StrReplaceAll(json, {{"\"inputs\":", "\"outputs\":"}});
  }
  static Response Binary(const std::string& json, const std::string& data) {
    Response response = ScriptedHttp::Answer(200, json + data);
    response.set(kBinaryLength, std::to_string(json.size()));
    return response;
  }
  Response Probe(const std::string& target) const {
    if (!ready) return ScriptedHttp::Answer(503, R"({"error":"not ready"})");
    if (absl::StrContains(target, "absent")) return ScriptedHttp::Answer(404, R"({"error":"no such model"})");
    if (absl::StartsWith(target, "/v2/")) return ScriptedHttp::Answer(200, "");
    if (!absl::StrContains(target, "echo")) return ScriptedHttp::Answer(404, R"({"error":"no such model"})");
    return ScriptedHttp::Answer(200, R"({"model_version_status":[{"version":"4","state":"LOADING"},)"
                                     R"({"version":"3","state":"AVAILABLE","status":{"error_code":"OK"}}]})");
  }

  Mutex mutex_;
  std::vector<std::string> targets_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> headers_ ABSL_GUARDED_BY(mutex_);
  std::string body_ ABSL_GUARDED_BY(mutex_);
};

class ForeignRestTest : public ::testing::Test {
 protected:
  std::string Endpoint(const std::string& api, const std::string& options = "") const {
    return absl::StrCat(api, "+http://127.0.0.1:", server_->port(), options);
  }
  std::unique_ptr<Channel> Connect(const std::string& endpoint, ChannelOptions options = {}) {
    absl::StatusOr<std::unique_ptr<Channel>> channel = transport_->Connect(endpoint, std::move(options));
    PORTICO_CHECK(channel.ok());
    return *std::move(channel);
  }
  PeerHeader HeaderFor(absl::string_view servable) const {
    PeerHeader header;
    header.servable = servable;
    header.tensors.emplace_back().name = "x";
    header.wanted = wanted_;
    return header;
  }
  absl::StatusOr<PeerMessage> Call(Channel& channel, absl::string_view model) {
    PendingResult result;
    channel.Call(HeaderFor(model), {&x_, 1}, Deadline::In(absl::Seconds(30), Clock::Real()), result.Done());
    return result.Wait();
  }
  absl::Status StatusOf(const std::string& api, absl::string_view model, ChannelOptions options = {}) {
    auto channel = Connect(Endpoint(api), std::move(options));
    return Call(*channel, model).status();
  }
  /// Takes the first state: connected, so that calls do not wait.
  std::unique_ptr<Channel> ConnectUp(const std::string& api) {
    ChannelOptions options;
    options.connect_timeout = absl::Seconds(60);
    options.on_state = log_.Listener();
    auto channel = Connect(Endpoint(api), std::move(options));
    PORTICO_CHECK(log_.Take().connected);
    return channel;
  }

  RestServer rest_;
  std::unique_ptr<ScriptedHttp> server_ =
      std::make_unique<ScriptedHttp>([this](const Request& request) { return rest_(request); });
  StateLog log_;
  std::unique_ptr<Transport> transport_ = NewTransports({}, Clock::Real());
  const Tensor x_ = Tensor::Of<float>({2}, {1, 2});
  const std::vector<WantedOutput> wanted_ = {{"x", DType::kFloat, {-1}}};
};

TEST_F(ForeignRestTest, V2CarriesEveryDtypeByName) { ExpectEchoed(*Connect(Endpoint("v2")), ""); }

TEST_F(ForeignRestTest, TfsCarriesEveryDtypeByName) { ExpectEchoed(*Connect(Endpoint("tfs")), ""); }

TEST_F(ForeignRestTest, BinaryDataAreUsedOnceTheServerHasSentSome) {
  auto channel = Connect(Endpoint("v2"));
  const auto first = Call(*channel, "binary");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->header.tensors[0].name, "y");
  EXPECT_EQ(first->tensors[0].Aligned().data<int32_t>()[1], 2);
  EXPECT_THAT(rest_.body(), HasSubstr(R"("binary_data_output":true)"));
  EXPECT_EQ(rest_.header("Content-Type"), "application/json");
  const auto second = Call(*channel, "binary");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->tensors[0].bytes(), x_.bytes());
  EXPECT_EQ(rest_.header("Content-Type"), "application/octet-stream");
  ExpectEchoed(*channel, "", "binary");
  // A server that takes JSON alone has come in its place.
  EXPECT_EQ(Call(*channel, "wrong").status().code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(Call(*channel, "echo").ok());
  EXPECT_EQ(rest_.header("Content-Type"), "application/json");
}

TEST_F(ForeignRestTest, NamesVersionAndSignatureAreInTheRequest) {
  auto tfs = Connect(Endpoint("tfs"));
  PeerHeader header = HeaderFor("a b/c");
  header.version = 3;
  header.signature = "rank";
  PendingResult result;
  tfs->Call(header, {&x_, 1}, Deadline(), result.Done());
  ASSERT_TRUE(result.Wait().ok()) << result.Wait().status();
  EXPECT_EQ(rest_.body(), R"({"signature_name":"rank","inputs":{"x":[1.0,2.0]}})");
  auto v2 = Connect(Endpoint("v2", "?model=echo&target=legacy/ranker&version=5"));
  ASSERT_TRUE(Call(*v2, "legacy/ranker").ok());
  EXPECT_THAT(rest_.targets(),
              ::testing::ElementsAre("/v1/models/a%20b%2fc/versions/3:predict", "/v2/models/echo/versions/5/infer"));
  header.version = -1;
  PendingResult refused;
  v2->Call(header, {&x_, 1}, Deadline(), refused.Done());
  EXPECT_THAT(refused.Wait().status().message(), AllOf(HasSubstr("'rank'"), HasSubstr("serving_default")));
}

TEST_F(ForeignRestTest, ErrorsKeepTheirMeaning) {
  for (const char* api : {"v2", "tfs"}) {
    const absl::Status full = StatusOf(api, "full");
    EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(full.message(), AllOf(HasSubstr(Endpoint(api)), HasSubstr("queue is full")));
    const absl::Status wrong = StatusOf(api, "wrong");
    EXPECT_EQ(wrong.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(wrong.message(), HasSubstr("HTTP 400: no such input"));
    const absl::Status away = StatusOf(api, "away");
    EXPECT_EQ(away.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(away.message(), HasSubstr("come back later"));
  }
}

TEST_F(ForeignRestTest, ResponsesThatDoNotFitAreTheServersFault) {
  for (const char* answer :
       {"", "null", "{}", "[]", "{", R"({"outputs":7})", R"({"outputs":[{"name":"x"}]})", "\xff\xfe",
        R"({"outputs":[{"name":"x","datatype":"FP32","shape":[3],"data":[1,2]}]})",
        R"({"outputs":[{"name":"x","datatype":"FP7","shape":[1],"data":[1]}]})",
        R"({"outputs":[{"name":"x","datatype":"FP32","shape":[1],"data":["a"]}]})",
        R"({"outputs":[{"name":"x","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]})"}) {
    rest_.answer = answer;
    const absl::Status status = StatusOf("v2", "broken");
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << answer << ": " << status;
    EXPECT_THAT(status.message(), HasSubstr("the server's")) << answer;
  }
  for (const char* answer : {"", "null", "{}", "[]", "{", R"({"outputs":{"x":[1,[2]]}})", R"({"outputs":{"x":["a"]}})",
                             R"({"outputs":{"x":[1],"x":[1]}})", R"({"outputs":null})", R"({"outputs":"a"})"}) {
    rest_.answer = answer;
    const absl::Status status = StatusOf("tfs", "broken");
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << answer << ": " << status;
    EXPECT_THAT(status.message(), HasSubstr("the server's")) << answer;
  }
}

TEST_F(ForeignRestTest, TfsReadsAnOutputWithoutANameAndDropsWhatNobodyWants) {
  for (const char* answer : {R"({"outputs":[1.5,2.5]})", R"({"outputs":{"other":{"a":[]},"x":[1.5,2.5]}})"}) {
    rest_.answer = answer;
    auto channel = Connect(Endpoint("tfs"));
    const auto reply = Call(*channel, "broken");
    ASSERT_TRUE(reply.ok()) << reply.status();
    ASSERT_EQ(reply->tensors.size(), 1u);
    EXPECT_EQ(reply->header.tensors[0].name, "x");
    EXPECT_EQ(reply->tensors[0].Aligned().data<float>()[1], 2.5f);
  }
}

TEST_F(ForeignRestTest, RepliesAreBounded) {
  rest_.answer =
      R"({"outputs":[{"name":"x","datatype":"INT64","shape":[2],"data":[1,2]},{"name":"y","datatype":"INT64","shape":[1],"data":[1]}]})";
  PeerLimits few, small, short_body;
  few.max_tensors = 1;
  small.max_frame_bytes = 15;
  short_body.max_message_bytes = 100;
  for (const PeerLimits& limits : {few, small, short_body}) {
    ChannelOptions options;
    options.limits = limits;
    const absl::Status status = StatusOf("v2", "broken", std::move(options));
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status << " within " << limits.max_tensors << ", "
                                                          << limits.max_frame_bytes << ", " << limits.max_message_bytes;
    EXPECT_THAT(status.message(), HasSubstr("want at most"));
  }
}

TEST_F(ForeignRestTest, StringsThatAreNoTextGoAsBase64WhereTheApiHasIt) {
  const Tensor bytes = Tensor::OfStrings({1}, std::vector<std::string>{"\xff\xfe"});
  PendingResult tfs, v2;
  auto channel = Connect(Endpoint("tfs"));
  const std::vector<WantedOutput> wanted = {{"x", DType::kString, {-1}}};
  PeerHeader header = HeaderFor("echo");
  header.wanted = wanted;
  channel->Call(header, {&bytes, 1}, Deadline(), tfs.Done());
  ASSERT_TRUE(tfs.Wait().ok()) << tfs.Wait().status();
  EXPECT_EQ(tfs.Wait()->tensors[0].StringAt(0), "\xff\xfe");
  auto json = Connect(Endpoint("v2"));
  json->Call(header, {&bytes, 1}, Deadline(), v2.Done());
  EXPECT_THAT(v2.Wait().status().message(), HasSubstr("input 'x': got strings that are not UTF-8"));
}

TEST_F(ForeignRestTest, TraceAndTokenGoAlong) {
  TempFolder folder;
  auto channel = Connect(Endpoint("v2", absl::StrCat("?token_file=", folder.Write("token", "s3cret\n"))));
  PeerHeader header = HeaderFor("echo");
  header.trace_id_high = 0x0102030405060708;
  header.trace_id_low = 0x090a0b0c0d0e0f10;
  header.parent_span_id = 0xff;
  header.sampled = true;
  header.trace_state = "vendor=1";
  PendingResult result;
  channel->Call(header, {&x_, 1}, Deadline(), result.Done());
  ASSERT_TRUE(result.Wait().ok());
  EXPECT_EQ(rest_.header("traceparent"), "00-0102030405060708090a0b0c0d0e0f10-00000000000000ff-01");
  EXPECT_EQ(rest_.header("tracestate"), "vendor=1");
  EXPECT_EQ(rest_.header("authorization"), "Bearer s3cret");
  // A value that would end its line is left out.
  header.trace_state = "a=1\r\nEvil: yes";
  PendingResult evil;
  channel->Call(header, {&x_, 1}, Deadline(), evil.Done());
  ASSERT_TRUE(evil.Wait().ok());
  EXPECT_EQ(rest_.header("tracestate"), "");
  EXPECT_EQ(rest_.header("Evil"), "");
}

TEST_F(ForeignRestTest, ConnectionsAreKeptAndMadeAgainWhenTheServerClosesThem) {
  auto channel = ConnectUp("v2");
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(Call(*channel, "echo").ok());
  // One for calls, one for the questions in between.
  EXPECT_LE(server_->connections(), 2);
  for (int i = 0; i < 20; ++i) {
    server_->CutClients();
    const auto reply = Call(*channel, "echo");
    ASSERT_TRUE(reply.ok()) << reply.status();
  }
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Call(*channel, "closing").ok());
}

TEST_F(ForeignRestTest, ManyCallsShareABoundedNumberOfConnections) {
  auto channel = ConnectUp("v2");
  std::vector<PendingResult> results(500);
  for (PendingResult& result : results) channel->Call(HeaderFor("echo"), {&x_, 1}, Deadline(), result.Done());
  for (PendingResult& result : results) EXPECT_TRUE(result.Wait().ok()) << result.Wait().status();
  EXPECT_LE(server_->connections(), 70);
}

TEST_F(ForeignRestTest, TheDeadlineEndsACallAndItsConnection) {
  auto channel = ConnectUp("v2");
  PendingResult result;
  channel->Call(HeaderFor("slow"), {&x_, 1}, Deadline::In(absl::Seconds(1), Clock::Real()), result.Done());
  EXPECT_EQ(result.Wait().status().code(), absl::StatusCode::kDeadlineExceeded);
  Comes([&] { return server_->gone() > 0; });
}

TEST_F(ForeignRestTest, CancelReachesTheServer) {
  auto channel = ConnectUp("tfs");
  PendingResult result;
  const uint64_t id = channel->Call(HeaderFor("slow"), {&x_, 1}, Deadline(), result.Done());
  Comes([&] { return !rest_.targets().empty(); });
  channel->Cancel(id);
  EXPECT_EQ(result.Wait().status().code(), absl::StatusCode::kCancelled);
  Comes([&] { return server_->gone() > 0; });
}

TEST_F(ForeignRestTest, TheEndOfAChannelEndsItsCalls) {
  std::vector<PendingResult> results(100);
  auto channel = Connect(Endpoint("v2"));
  for (PendingResult& result : results) channel->Call(HeaderFor("slow"), {&x_, 1}, Deadline(), result.Done());
  channel.reset();
  for (PendingResult& result : results) EXPECT_EQ(result.Wait().status().code(), absl::StatusCode::kCancelled);
}

TEST_F(ForeignRestTest, SlowCallsDoNotMakeAServerLookAway) {
  auto channel = ConnectUp("v2");
  std::vector<PendingResult> results(100);
  for (PendingResult& result : results) channel->Call(HeaderFor("slow"), {&x_, 1}, Deadline(), result.Done());
  // More than the time after which a question without an answer is a no.
  absl::SleepFor(absl::Milliseconds(3500));
  PendingResult waits;
  channel->Call(HeaderFor("slow"), {&x_, 1}, Deadline(), waits.Done());
  EXPECT_FALSE(waits.ready());
  channel.reset();
  EXPECT_EQ(waits.Wait().status().code(), absl::StatusCode::kCancelled);
}

TEST_F(ForeignRestTest, AServerIsConnectedWhileItSaysThatItIsReady) {
  ChannelOptions options;
  options.connect_timeout = absl::Seconds(60);
  options.on_state = log_.Listener();
  auto channel = Connect(Endpoint("tfs", "?model=echo&model=absent"), options);
  const PeerState up = log_.Take();
  EXPECT_TRUE(up.connected);
  ASSERT_EQ(up.served.size(), 1u);
  EXPECT_EQ(up.served[0].name, "echo");
  EXPECT_EQ(up.served[0].version, 3);
  rest_.ready = false;
  EXPECT_FALSE(log_.Take().connected);
  const absl::Status status = Call(*channel, "echo").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("not ready"));
  rest_.ready = true;
  EXPECT_TRUE(log_.Take().connected);
  server_->Stop();
  EXPECT_FALSE(log_.Take().connected);
}

TEST_F(ForeignRestTest, FirstCallsWaitForAServerThatIsOnItsWay) {
  const std::string endpoint = Endpoint("v2");
  const int port = server_->port();
  server_->Stop();
  ChannelOptions options;
  options.connect_timeout = absl::Seconds(60);
  auto channel = Connect(endpoint, options);
  PendingResult result;
  channel->Call(HeaderFor("echo"), {&x_, 1}, Deadline(), result.Done());
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_FALSE(result.ready());
  ScriptedHttp late([this](const Request& request) { return rest_(request); }, nullptr, port);
  EXPECT_TRUE(result.Wait().ok()) << result.Wait().status();
}

TEST_F(ForeignRestTest, NobodyThereIsUnavailable) {
  server_->Stop();
  ChannelOptions options;
  options.connect_timeout = absl::Milliseconds(100);
  options.on_state = log_.Listener();
  auto channel = Connect(Endpoint("v2"), options);
  const absl::Status status = Call(*channel, "echo").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("not sent"));
  EXPECT_FALSE(log_.Take().connected);
}

TEST_F(ForeignRestTest, WhatIsNoHttpIsTheServersFault) {
  ScriptedHttp garbage([](const Request&) {
    Response response = ScriptedHttp::Answer(200, "");
    response.set("Inference-Header-Content-Length", "all of it");
    return response;
  });
  auto channel = Connect(absl::StrCat("v2+http://127.0.0.1:", garbage.port()));
  const absl::Status status = Call(*channel, "echo").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
}

class ForeignHttpsTest : public ForeignRestTest {
 protected:
  void SetUp() override {
    tls_.use_certificate_chain_file(keys_.File("server.pem"));
    tls_.use_private_key_file(keys_.File("server.key"), boost::asio::ssl::context::pem);
    server_ = std::make_unique<ScriptedHttp>([this](const Request& request) { return rest_(request); }, &tls_);
  }

  const TestCertificates keys_;
  boost::asio::ssl::context tls_{boost::asio::ssl::context::tls_server};
};

TEST_F(ForeignHttpsTest, CallsGoToAServerWhoseCertificateIsVouchedFor) {
  const std::string endpoint =
      absl::StrCat("v2+https://127.0.0.1:", server_->port(), "?ca_file=", keys_.File("root.pem"));
  auto channel = Connect(endpoint);
  ExpectEchoed(*channel, "");
  for (int i = 0; i < 20; ++i) {
    server_->CutClients();
    const auto reply = Call(*channel, "echo");
    ASSERT_TRUE(reply.ok()) << reply.status();
  }
}

TEST_F(ForeignHttpsTest, ACertificateThatNobodyVouchesForEndsTheConnection) {
  ChannelOptions options;
  options.connect_timeout = absl::Milliseconds(200);
  auto channel = Connect(absl::StrCat("v2+https://127.0.0.1:", server_->port()), options);
  EXPECT_EQ(Call(*channel, "echo").status().code(), absl::StatusCode::kUnavailable);
  auto named =
      Connect(absl::StrCat("v2+https://localhost:", server_->port(), "?ca_file=", keys_.File("root.pem")), options);
  EXPECT_EQ(Call(*named, "echo").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(rest_.targets().empty());
}

TEST_F(ForeignHttpsTest, RootsThatAreNoPemAreRefused) {
  const TempFolder folder;
  const std::string endpoint =
      absl::StrCat("v2+https://127.0.0.1:", server_->port(), "?ca_file=", folder.Write("bad", "no roots"));
  EXPECT_EQ(transport_->Connect(endpoint, {}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace portico
