#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "node/node.h"

namespace portico {

/// Options of a node that listens for gRPC, HTTP and peers on loopback, on ports the system chooses. `models`: name →
/// base folder.
Node::Options LocalNode(const std::string& name, std::vector<std::pair<std::string, std::string>> models);

/// Starts a node in this process. Aborts with the reason when nothing can serve.
std::unique_ptr<Node> StartNode(Node::Options options);

using Outputs = std::map<std::string, Tensor>;

/// A client of the TensorFlow Serving API over one gRPC connection of its own, through generated stubs: what a foreign
/// client sends and sees. Thread-safe.
class PredictClient {
 public:
  /// `address`: HOST:PORT.
  explicit PredictClient(const std::string& address);
  ~PredictClient();

  /// Blocks until the answer. A status is the server's, code and message unchanged.
  absl::StatusOr<Outputs> Predict(const std::string& model, absl::Span<const NamedTensor> inputs,
                                  absl::Duration timeout = absl::Seconds(60));

 private:
  struct Stub;
  std::unique_ptr<Stub> stub_;
};

struct HttpAnswer {
  int code = 0;
  std::string body;
};

/// One HTTP/1.1 request on a connection of its own. Code 0 when the connection failed. `body` empty: GET, else POST.
HttpAnswer Http(const std::string& address, const std::string& path, const std::string& body = "");

}  // namespace portico
