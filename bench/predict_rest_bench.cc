// Predict over REST beside a plain Boost.Beast server that answers a constant, each in a process of its own, both
// driven by h2load with the same request over HTTP/1.1. The served model is tiny, so that what is measured is the
// frontend.

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "bench/h2load.h"
#include "bench/scenarios.h"
#include "cli/http_client.h"
#include "node/node.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::asio::ip::tcp;

constexpr int kRounds = 7;
constexpr char kPath[] = "/v1/models/tiny:predict";
constexpr char kBody[] = R"({"instances": [[1.0, 2.0, 3.0, 4.0]]})";

/// One connection of the plain server: reads a request, writes the constant, and again.
class Plain : public std::enable_shared_from_this<Plain> {
 public:
  explicit Plain(tcp::socket socket) : socket_(std::move(socket)) {
    socket_.set_option(tcp::no_delay(true));
    response_.set(http::field::content_type, "application/json");
    response_.body() = "{\"predictions\": [[2.0,4.0,6.0,8.0]]}";
    response_.prepare_payload();
  }
  void Read() {
    request_ = {};
    http::async_read(socket_, buffer_, request_, [self = shared_from_this()](boost::system::error_code error, size_t) {
      if (!error) self->Write();
    });
  }

 private:
  void Write() {
    http::async_write(socket_, response_, [self = shared_from_this()](boost::system::error_code error, size_t) {
      if (!error) self->Read();
    });
  }

  tcp::socket socket_;
  boost::beast::flat_buffer buffer_;
  http::request<http::string_body> request_;
  http::response<http::string_body> response_{http::status::ok, 11};
};

void Accept(tcp::acceptor& acceptor) {
  acceptor.async_accept([&acceptor](boost::system::error_code error, tcp::socket socket) {
    if (error) return;
    std::make_shared<Plain>(std::move(socket))->Read();
    Accept(acceptor);
  });
}

void ServePlain(const ChildServer::Ready& ready) {
  asio::io_context io(1);
  tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  Accept(acceptor);
  std::thread thread([&io] { io.run(); });
  ready(absl::StrCat("127.0.0.1:", acceptor.local_endpoint().port()));
  io.stop();
  thread.join();
}

void ServeNode(const std::string& base, const ChildServer::Ready& ready) {
  Node::Options options;
  options.http.address = "127.0.0.1:0";
  options.models = {{"tiny", base}};
  const auto node = Node::Start(std::move(options));
  PORTICO_CHECK(node.ok() && (*node)->Ready().ok());
  ready((*node)->http_address());
}

void Run(Report& report) {
  if (!H2load::Found("predict.rest")) return;
  const TempFolder folder;
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 4}).Output("y", DType::kFloat, {"N", 4});
  model.Initializer("b", {4}, {1, 2, 3, 4}).Node("Add", {"x", "b"}, {"y"}).WriteTo(folder.File("tiny/1/model.onnx"));
  const std::string file = folder.Write("request", kBody);
  const ChildServer plain(ServePlain);
  const ChildServer node([&](const ChildServer::Ready& ready) { ServeNode(folder.Folder("tiny"), ready); });
  HttpCall call;
  call.target = kPath;
  call.body = kBody;
  const auto answer = CallHttp(node.address(), call);
  PORTICO_CHECK(answer.ok() && answer->code == 200 && absl::StrContains(answer->body, "[2.0,4.0,6.0,8.0]"));
  const H2load load{64, 64};
  std::vector<double> answered, predicted;
  for (int round = 0; round < kRounds; ++round) {
    answered.push_back(load.RestCallsPerSecond(plain.address(), kPath, file));
    predicted.push_back(load.RestCallsPerSecond(node.address(), kPath, file));
  }
  Figure figure;
  figure.name = "predict.rest.64.calls_per_s";
  figure.value = Median(predicted);
  figure.unit = "calls/s";
  figure.baseline = Median(answered);
  figure.at_least = 0.75;
  report.Add(figure);
}

}  // namespace

std::vector<Scenario> PredictRestScenarios() {
  return {{"predict.rest", "REST predict of a tiny model against a plain Beast server, driven by h2load", Run}};
}

}  // namespace portico::bench
