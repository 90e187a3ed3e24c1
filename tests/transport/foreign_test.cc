// The transport towards servers of somebody else's make, against servers of gRPC's generated code.

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "inference/grpc_service.grpc.pb.h"
#include "tensorflow_serving/model_service.grpc.pb.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/testing/temp_folder.h"
#include "tests/transport/one_of_each_dtype.h"
#include "tests/transport/scripted_peer.h"
#include "transport/foreign_endpoint.h"
#include "transport/transport.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// What servers saw of the last call beside its message.
class SeenMetadata {
 public:
  void Take(const grpc::ServerContext& call) {
    MutexLock lock(&mutex_);
    values_.clear();
    for (const auto& [name, value] : call.client_metadata()) {
      values_[std::string(name.data(), name.size())] = std::string(value.data(), value.size());
    }
    has_deadline_ = call.deadline() < std::chrono::system_clock::time_point::max();
  }
  std::string Value(const std::string& name) {
    MutexLock lock(&mutex_);
    return values_[name];
  }
  bool has_deadline() {
    MutexLock lock(&mutex_);
    return has_deadline_;
  }

 private:
  Mutex mutex_;
  std::map<std::string, std::string> values_ ABSL_GUARDED_BY(mutex_);
  bool has_deadline_ ABSL_GUARDED_BY(mutex_) = false;
};

/// Echoes inputs as outputs "NAME_out", last first. What goes wrong is the model's name.
class V2Server final : public inference::GRPCInferenceService::Service {
 public:
  grpc::Status ServerReady(grpc::ServerContext*, const inference::ServerReadyRequest*,
                           inference::ServerReadyResponse* response) override {
    response->set_ready(ready);
    return grpc::Status::OK;
  }
  grpc::Status ModelReady(grpc::ServerContext*, const inference::ModelReadyRequest* request,
                          inference::ModelReadyResponse* response) override {
    response->set_ready(ready && request->name() != "absent");
    return grpc::Status::OK;
  }
  grpc::Status ModelInfer(grpc::ServerContext* call, const inference::ModelInferRequest* request,
                          inference::ModelInferResponse* response) override {
    metadata.Take(*call);
    const std::string& model = request->model_name();
    if (model == "full") return {grpc::StatusCode::RESOURCE_EXHAUSTED, "queue is full"};
    if (model == "wrong") return {grpc::StatusCode::INVALID_ARGUMENT, "no such input"};
    if (model == "slow") {
      while (!call->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
      cancelled = true;
      return grpc::Status::CANCELLED;
    }
    if (model == "typed") {
      auto* output = response->add_outputs();
      output->set_name("numbers");
      output->set_datatype("INT64");
      output->add_shape(2);
      output->mutable_contents()->add_int64_contents(-7);
      output->mutable_contents()->add_int64_contents(1LL << 40);
      output = response->add_outputs();
      output->set_name("words");
      output->set_datatype("BYTES");
      output->add_shape(1);
      output->mutable_contents()->add_bytes_contents("one");
      return grpc::Status::OK;
    }
    for (int i = request->inputs_size() - 1; i >= 0; --i) {
      auto* output = response->add_outputs();
      output->set_name(request->inputs(i).name() + "_out");
      output->set_datatype(request->inputs(i).datatype());
      *output->mutable_shape() = request->inputs(i).shape();
      response->add_raw_output_contents(request->raw_input_contents(i));
    }
    if (model == "short") response->mutable_raw_output_contents(0)->pop_back();
    if (model == "few") response->mutable_raw_output_contents()->RemoveLast();
    if (model == "strange") response->mutable_outputs(0)->set_datatype("FP7");
    version = request->model_version();
    return grpc::Status::OK;
  }

  std::atomic<bool> ready{true};
  std::atomic<bool> cancelled{false};
  std::string version;
  SeenMetadata metadata;
};

/// Echoes inputs as outputs of their names.
class PredictServer final : public tensorflow::serving::PredictionService::Service {
 public:
  grpc::Status Predict(grpc::ServerContext* call, const tensorflow::serving::PredictRequest* request,
                       tensorflow::serving::PredictResponse* response) override {
    metadata.Take(*call);
    spec = request->model_spec().ShortDebugString();
    if (request->model_spec().name() == "typed") {
      tensorflow::TensorProto& proto = (*response->mutable_outputs())["y"];
      proto.set_dtype(tensorflow::DT_FLOAT);
      proto.mutable_tensor_shape()->add_dim()->set_size(3);
      proto.add_float_val(1.5);  // The last value fills the rest.
      return grpc::Status::OK;
    }
    *response->mutable_outputs() = request->inputs();
    return grpc::Status::OK;
  }
  std::string spec;
  SeenMetadata metadata;
};

class StatusServer final : public tensorflow::serving::ModelService::Service {
 public:
  grpc::Status GetModelStatus(grpc::ServerContext*, const tensorflow::serving::GetModelStatusRequest* request,
                              tensorflow::serving::GetModelStatusResponse* response) override {
    if (request->model_spec().name() != "echo") return {grpc::StatusCode::NOT_FOUND, "no such model"};
    auto* loading = response->add_model_version_status();
    loading->set_version(4);
    loading->set_state(tensorflow::serving::ModelVersionStatus::LOADING);
    auto* available = response->add_model_version_status();
    available->set_version(3);
    available->set_state(tensorflow::serving::ModelVersionStatus::AVAILABLE);
    return grpc::Status::OK;
  }
};

class ForeignTest : public ::testing::Test {
 protected:
  ForeignTest() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.SetMaxReceiveMessageSize(-1);
    builder.RegisterService(&v2_);
    builder.RegisterService(&predict_);
    builder.RegisterService(&status_);
    server_ = builder.BuildAndStart();
    PORTICO_CHECK(server_ != nullptr);
  }
  ~ForeignTest() override { Shutdown(); }
  void Shutdown() { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string Endpoint(const std::string& api, const std::string& options = "") const {
    return absl::StrCat(api, "+grpc://127.0.0.1:", port_, options);
  }
  std::unique_ptr<Channel> Connect(const std::string& endpoint, ChannelOptions options = {}) {
    absl::StatusOr<std::unique_ptr<Channel>> channel = transport_->Connect(endpoint, std::move(options));
    PORTICO_CHECK(channel.ok());
    return *std::move(channel);
  }
  static PeerHeader HeaderFor(absl::string_view servable, std::initializer_list<absl::string_view> names) {
    PeerHeader header;
    header.servable = servable;
    for (const absl::string_view name : names) header.tensors.emplace_back().name = name;
    return header;
  }
  absl::StatusOr<PeerMessage> Call(const std::string& api, const std::string& model, const Tensor& x) {
    auto channel = Connect(Endpoint(api));
    PendingResult result;
    channel->Call(HeaderFor(model, {"x"}), {&x, 1}, Deadline::In(absl::Seconds(30), Clock::Real()), result.Done());
    return result.Wait();
  }

  int port_ = 0;
  V2Server v2_;
  PredictServer predict_;
  StatusServer status_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Transport> transport_ = NewTransports({}, Clock::Real());
  const Tensor x_ = Tensor::Of<float>({2}, {1, 2});
};

TEST_F(ForeignTest, V2CarriesEveryDtypeByName) { ExpectEchoed(*Connect(Endpoint("v2")), "_out"); }

TEST_F(ForeignTest, TfsCarriesEveryDtypeByName) { ExpectEchoed(*Connect(Endpoint("tfs")), ""); }

TEST_F(ForeignTest, TypedContentsAreRead) {
  const auto v2 = Call("v2", "typed", x_);
  ASSERT_TRUE(v2.ok()) << v2.status();
  EXPECT_EQ(v2->tensors[0].Aligned().data<int64_t>()[1], 1LL << 40);
  EXPECT_EQ(v2->tensors[1].StringAt(0), "one");
  const auto tfs = Call("tfs", "typed", x_);
  ASSERT_TRUE(tfs.ok()) << tfs.status();
  EXPECT_EQ(tfs->tensors[0].Aligned().data<float>()[2], 1.5);
}

TEST_F(ForeignTest, TfsNamesVersionAndSignature) {
  auto channel = Connect(Endpoint("tfs"));
  PeerHeader header = HeaderFor("echo", {"x"});
  header.version = 3;
  header.signature = "rank";
  PendingResult result;
  channel->Call(header, {&x_, 1}, Deadline(), result.Done());
  ASSERT_TRUE(result.Wait().ok());
  EXPECT_EQ(predict_.spec, R"(name: "echo" version { value: 3 } signature_name: "rank")");
}

TEST_F(ForeignTest, V2NamesTheVersionAndRefusesASignature) {
  auto channel = Connect(Endpoint("v2"));
  PeerHeader header = HeaderFor("echo", {"x"});
  header.version = 3;
  header.signature = "serving_default";
  PendingResult result;
  channel->Call(header, {&x_, 1}, Deadline(), result.Done());
  ASSERT_TRUE(result.Wait().ok());
  EXPECT_EQ(v2_.version, "3");
  header.signature = "rank";
  PendingResult refused;
  channel->Call(header, {&x_, 1}, Deadline(), refused.Done());
  const absl::Status status = refused.Wait().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("'echo'"), HasSubstr("'rank'")));
}

TEST_F(ForeignTest, TargetAndVersionOfTheEndpointAreWhatTheServerHears) {
  StateLog log;
  ChannelOptions options;
  options.connect_timeout = absl::Seconds(60);
  options.on_state = log.Listener();
  for (const char* api : {"tfs", "v2"}) {
    auto channel = Connect(Endpoint(api, "?model=echo&target=legacy/ranker&version=3"), options);
    const PeerState up = log.Take();
    ASSERT_EQ(up.served.size(), 1u);
    EXPECT_EQ(up.served[0].name, "legacy/ranker");
    PendingResult result;
    channel->Call(HeaderFor("legacy/ranker", {"x"}), {&x_, 1}, Deadline(), result.Done());
    ASSERT_TRUE(result.Wait().ok()) << result.Wait().status();
  }
  EXPECT_EQ(predict_.spec, R"(name: "echo" version { value: 3 })");
  EXPECT_EQ(v2_.version, "3");
}

TEST_F(ForeignTest, ErrorsKeepTheirMeaning) {
  const absl::Status full = Call("v2", "full", x_).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(full.message(), AllOf(HasSubstr(Endpoint("v2")), HasSubstr("queue is full")));
  EXPECT_EQ(Call("v2", "wrong", x_).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ForeignTest, ResponsesThatDoNotFitAreTheServersFault) {
  for (const char* model : {"short", "few", "strange"}) {
    auto channel = Connect(Endpoint("v2"));
    PendingResult result;
    channel->Call(HeaderFor(model, {"x", "y"}), {x_, x_}, Deadline(), result.Done());
    const absl::Status status = result.Wait().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << model << ": " << status;
    EXPECT_THAT(status.message(), HasSubstr("the server's")) << model;
  }
}

TEST_F(ForeignTest, RepliesAreBounded) {
  PeerLimits few, small;
  few.max_tensors = 1;
  small.max_frame_bytes = 15;
  for (const PeerLimits& limits : {few, small}) {
    ChannelOptions options;
    options.limits = limits;
    auto channel = Connect(Endpoint("v2"), options);
    PendingResult result;
    channel->Call(HeaderFor("typed", {"x"}), {&x_, 1}, Deadline(), result.Done());
    const absl::Status status = result.Wait().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(status.message(), HasSubstr("want at most"));
  }
}

TEST_F(ForeignTest, ADigestIsRefused) {
  auto channel = Connect(Endpoint("v2"));
  const std::string digest(32, 'd');
  PeerHeader header = HeaderFor("echo", {"x"});
  header.digest = digest;
  PendingResult result;
  channel->Call(header, {&x_, 1}, Deadline(), result.Done());
  EXPECT_THAT(result.Wait().status().message(), HasSubstr("a portal without one"));
  PendingResult unnamed;
  channel->Call(HeaderFor("echo", {}), {&x_, 1}, Deadline(), unnamed.Done());
  EXPECT_EQ(unnamed.Wait().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ForeignTest, TraceDeadlineAndTokenGoAlong) {
  TempFolder folder;
  auto channel = Connect(Endpoint("v2", absl::StrCat("?token_file=", folder.Write("token", "s3cret\n"))));
  PeerHeader header = HeaderFor("echo", {"x"});
  header.trace_id_high = 0x0102030405060708;
  header.trace_id_low = 0x090a0b0c0d0e0f10;
  header.parent_span_id = 0xff;
  header.sampled = true;
  header.trace_state = "vendor=1";
  PendingResult result;
  channel->Call(header, {&x_, 1}, Deadline::In(absl::Seconds(30), Clock::Real()), result.Done());
  ASSERT_TRUE(result.Wait().ok());
  EXPECT_EQ(v2_.metadata.Value("traceparent"), "00-0102030405060708090a0b0c0d0e0f10-00000000000000ff-01");
  EXPECT_EQ(v2_.metadata.Value("tracestate"), "vendor=1");
  EXPECT_EQ(v2_.metadata.Value("authorization"), "Bearer s3cret");
  EXPECT_TRUE(v2_.metadata.has_deadline());
}

TEST_F(ForeignTest, TheDeadlineEndsACall) {
  auto channel = Connect(Endpoint("v2"));
  PendingResult result;
  channel->Call(HeaderFor("slow", {"x"}), {&x_, 1}, Deadline::In(absl::Seconds(1), Clock::Real()), result.Done());
  EXPECT_EQ(result.Wait().status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ForeignTest, CancelReachesTheServer) {
  auto channel = Connect(Endpoint("v2"));
  PendingResult result;
  const uint64_t id = channel->Call(HeaderFor("slow", {"x"}), {&x_, 1}, Deadline(), result.Done());
  Comes([&] { return !v2_.metadata.Value("user-agent").empty(); });
  channel->Cancel(id);
  EXPECT_EQ(result.Wait().status().code(), absl::StatusCode::kCancelled);
  Comes([&] { return v2_.cancelled.load(); });
}

TEST_F(ForeignTest, TheEndOfAChannelEndsItsCalls) {
  PendingResult result;
  auto channel = Connect(Endpoint("v2"));
  channel->Call(HeaderFor("slow", {"x"}), {&x_, 1}, Deadline(), result.Done());
  channel.reset();
  EXPECT_EQ(result.Wait().status().code(), absl::StatusCode::kCancelled);
}

TEST_F(ForeignTest, AServerIsConnectedWhileItSaysThatItIsReady) {
  StateLog log;
  ChannelOptions options;
  options.connect_timeout = absl::Seconds(60);
  options.on_state = log.Listener();
  auto channel = Connect(Endpoint("v2", "?model=echo&model=absent"), options);
  const PeerState up = log.Take();
  EXPECT_TRUE(up.connected);
  ASSERT_EQ(up.served.size(), 1u);
  EXPECT_EQ(up.served[0].name, "echo");
  v2_.ready = false;
  EXPECT_FALSE(log.Take().connected);
  PendingResult result;
  channel->Call(HeaderFor("echo", {"x"}), {&x_, 1}, Deadline(), result.Done());
  const absl::Status status = result.Wait().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("not ready"));
  v2_.ready = true;
  EXPECT_TRUE(log.Take().connected);
  Shutdown();
  EXPECT_FALSE(log.Take().connected);
}

TEST_F(ForeignTest, TfsStatusSaysWhichVersionIsAvailable) {
  StateLog log;
  ChannelOptions options;
  options.connect_timeout = absl::Seconds(60);
  options.on_state = log.Listener();
  auto channel = Connect(Endpoint("tfs", "?model=echo"), options);
  const PeerState up = log.Take();
  ASSERT_TRUE(up.connected);
  ASSERT_EQ(up.served.size(), 1u);
  EXPECT_EQ(up.served[0].version, 3);
}

TEST_F(ForeignTest, ATfsServerWithoutANamedModelIsThereWhenItAnswers) {
  StateLog log;
  ChannelOptions options;
  options.connect_timeout = absl::Seconds(60);
  options.on_state = log.Listener();
  auto channel = Connect(Endpoint("tfs"), options);
  const PeerState up = log.Take();
  EXPECT_TRUE(up.connected);
  EXPECT_TRUE(up.served.empty());
}

TEST_F(ForeignTest, NobodyThereIsUnavailable) {
  Shutdown();
  StateLog log;
  ChannelOptions options;
  options.connect_timeout = absl::Milliseconds(100);
  options.on_state = log.Listener();
  auto channel = Connect(Endpoint("v2"), options);
  PendingResult result;
  channel->Call(HeaderFor("echo", {"x"}), {&x_, 1}, Deadline(), result.Done());
  EXPECT_EQ(result.Wait().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(log.Take().connected);
}

TEST_F(ForeignTest, PeersDoNotListenThere) {
  EchoPeer peer;
  EXPECT_EQ(transport_->Listen("v2+grpc://127.0.0.1:0", peer, {}).status().code(), absl::StatusCode::kUnimplemented);
}

TEST(ForeignEndpointTest, IsTakenApart) {
  const auto parsed = ForeignEndpoint::Parse("tfs+grpcs://[::1]:8500?model=a/b&model=c&token_file=/t&ca_file=/c");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->api, ForeignEndpoint::Api::kTfs);
  EXPECT_TRUE(parsed->tls);
  EXPECT_EQ(parsed->address, "[::1]:8500");
  EXPECT_EQ(parsed->models, (std::vector<std::string>{"a/b", "c"}));
  EXPECT_EQ(parsed->token_file, "/t");
  EXPECT_EQ(parsed->ca_file, "/c");
  EXPECT_EQ(parsed->wire, ForeignEndpoint::Wire::kGrpc);
  const auto rest = ForeignEndpoint::Parse("v2+http://host:80/?model=ranker&target=legacy/ranker&version=3");
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_EQ(rest->wire, ForeignEndpoint::Wire::kRest);
  EXPECT_FALSE(rest->tls);
  EXPECT_EQ(rest->address, "host:80");
  EXPECT_EQ(rest->target, "legacy/ranker");
  EXPECT_EQ(rest->version, 3);
  EXPECT_TRUE(ForeignEndpoint::Parse("tfs+https://host:443")->tls);
}

TEST(ForeignEndpointTest, WhatDoesNotFitIsRefused) {
  for (const char* endpoint :
       {"v2+grpc://host", "v2+grpc://:1", "v2+grpc://host:0", "v2+grpc://host:99999", "v3+grpc://host:1",
        "v2+http2://host:1", "v2+grpc://host:1/path", "v2+grpc://host:1?colour=red",
        "v2+grpc://host:1?model=", "v2+grpc://host:1?token_file=/t", "v2+grpc://host:1?ca_file=/c",
        "v2+http://host:1?ca_file=/c", "v2+httpss://host:1", "tfs+://host:1", "v2+grpc://host:1?target=a",
        "v2+grpc://host:1?model=a&model=b&version=1", "v2+grpc://host:1?model=a&version=-1"}) {
    EXPECT_EQ(ForeignEndpoint::Parse(endpoint).status().code(), absl::StatusCode::kInvalidArgument) << endpoint;
  }
}

}  // namespace
}  // namespace portico
