#include "tests/integration/node_fixture.h"

#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/integration/tf_tensor.h"

namespace portico {

Node::Options LocalNode(const std::string& name, std::vector<std::pair<std::string, std::string>> models) {
  Node::Options options;
  options.name = name;
  for (auto& [model, base] : models) options.models.push_back({std::move(model), std::move(base)});
  options.grpc.address = "127.0.0.1:0";
  options.http.address = "127.0.0.1:0";
  options.peer = "zmq+tcp://127.0.0.1:0";
  return options;
}

std::unique_ptr<Node> StartNode(Node::Options options) {
  absl::StatusOr<std::unique_ptr<Node>> node = Node::Start(std::move(options));
  if (!node.ok()) {
    LogError(node.status().ToString());
    std::abort();
  }
  return *std::move(node);
}

struct PredictClient::Stub {
  std::unique_ptr<tensorflow::serving::PredictionService::Stub> service;
};

PredictClient::PredictClient(const std::string& address) : stub_(std::make_unique<Stub>()) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  // Channels to one address share a connection unless told otherwise.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  stub_->service = tensorflow::serving::PredictionService::NewStub(
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
}

PredictClient::~PredictClient() = default;

absl::StatusOr<Outputs> PredictClient::Predict(const std::string& model, absl::Span<const NamedTensor> inputs,
                                               absl::Duration timeout) {
  tensorflow::serving::PredictRequest request;
  request.mutable_model_spec()->set_name(model);
  for (const NamedTensor& input : inputs) (*request.mutable_inputs())[input.name] = ToTensorFlow(input.tensor);
  tensorflow::serving::PredictResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout));
  context.set_wait_for_ready(true);
  const grpc::Status status = stub_->service->Predict(&context, request, &response);
  if (!status.ok()) return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  Outputs outputs;
  for (const auto& [name, tensor] : response.outputs()) {
    ASSIGN_OR_RETURN(outputs[name], FromTensorFlow(tensor));
  }
  return outputs;
}

HttpAnswer Http(const std::string& address, const std::string& path, const std::string& body) {
  const std::vector<std::string> host_port = absl::StrSplit(address, ':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  int port = 0;
  PORTICO_CHECK(host_port.size() == 2 && absl::SimpleAtoi(host_port[1], &port));
  to.sin_port = htons(static_cast<uint16_t>(port));
  PORTICO_CHECK(inet_pton(AF_INET, host_port[0].c_str(), &to.sin_addr) == 1);
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  PORTICO_CHECK(socket >= 0);
  const absl::Cleanup close_socket = [socket] { close(socket); };
  if (connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0) return {};

  std::string request =
      absl::StrCat(body.empty() ? "GET " : "POST ", path, " HTTP/1.1\r\nHost: ", address, "\r\nConnection: close\r\n");
  if (!body.empty()) {
    absl::StrAppend(&request, "Content-Type: application/json\r\nContent-Length: ", body.size(), "\r\n");
  }
  absl::StrAppend(&request, "\r\n", body);
  for (size_t sent = 0; sent < request.size();) {
    const ssize_t n = send(socket, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return {};
    sent += static_cast<size_t>(n);
  }
  std::string answer;
  char buffer[16384];
  for (ssize_t n; (n = recv(socket, buffer, sizeof(buffer), 0)) > 0;) answer.append(buffer, static_cast<size_t>(n));

  // "HTTP/1.1 200 OK", headers, an empty line, the body.
  HttpAnswer parsed;
  const size_t header_end = answer.find("\r\n\r\n");
  const size_t code = answer.find(' ');
  if (header_end == std::string::npos || !absl::SimpleAtoi(answer.substr(code + 1, 3), &parsed.code)) return {};
  parsed.body = answer.substr(header_end + 4);
  return parsed;
}

}  // namespace portico
