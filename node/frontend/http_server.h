#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace portico {

/// A request as handlers see it; views live until the reply is given.
struct HttpRequest {
  absl::string_view method;
  /// Without the query.
  absl::string_view path;
  absl::string_view query;
  absl::string_view body;
  /// Empty when there is no such header; names compare without case.
  std::function<absl::string_view(absl::string_view name)> header;
};

struct HttpReply {
  int code = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

/// HTTP/1.1 over Boost.Beast: one I/O thread, bounded headers, bodies, connections and idle time. A response leaves as one
/// contiguous write.
class HttpServer {
 public:
  struct Options {
    /// HOST:PORT; port 0 lets the system choose.
    std::string address = "127.0.0.1:0";
    uint64_t max_body_bytes = uint64_t{256} << 20;
    uint32_t max_header_bytes = 16 << 10;
    uint32_t max_connections = 4096;
    absl::Duration idle_timeout = absl::Seconds(60);
  };
  /// Exactly once, from any thread.
  using Respond = absl::AnyInvocable<void(HttpReply)>;
  /// On the I/O thread: hands off fast. `request` lives until `respond` was called.
  using Handler = std::function<void(const HttpRequest& request, Respond respond)>;

  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(Options options, Handler handler);
  virtual ~HttpServer() = default;

  virtual const std::string& address() const = 0;
  /// Stops accepting, lets requests in hand finish at most `timeout`, then closes.
  virtual void Stop(absl::Duration timeout) = 0;
};

/// 400, 404, ... for a status, by the table of the TensorFlow Serving contract.
int HttpCode(const absl::Status& status);

}  // namespace portico
