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
#include "base/executor.h"
#include "codec/json_padding.h"
#include "node/frontend/server_tls.h"

namespace portico {

struct Tenant;

/// A request as handlers see it; views live until the reply is given.
struct HttpRequest {
  /// Readable bytes behind `body`, for parsers that read ahead.
  static constexpr size_t kBodyPadding = kJsonPadding;

  /// GET, HEAD or POST.
  absl::string_view method;
  /// Without the query.
  absl::string_view path;
  absl::string_view query;
  /// Unpacked where it came as gzip.
  absl::string_view body;
  /// Who sends it, as Options::admit said; null where it has not said.
  std::shared_ptr<const Tenant> tenant;
  /// Empty when there is no such header; names compare without case.
  std::function<absl::string_view(absl::string_view name)> header;
  /// What to do when the client goes before its answer: runs at most once, on its I/O thread, not after the answer. A
  /// client that goes within 10 ms is noticed then; one that closes only its own side has gone, too.
  std::function<void(absl::AnyInvocable<void()> on_gone)> when_gone;
};

struct HttpReply {
  int code = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  /// However large, it is packed by the thread that responds, which has time for it, and not by Options::executor.
  bool pack_here = false;
};

/// HTTP/1.1 over Boost.Beast, plain or in TLS: few I/O threads, bounded headers, bodies, connections and idle time. A
/// response leaves as one contiguous write, made by the thread that responds (in TLS by the I/O thread). Requests of
/// one connection are handled one after the other.
class HttpServer {
 public:
  /// Who sends a request for `path` with this `authorization` header (may be empty); null for a path that anybody may
  /// ask. An error is the answer. On an I/O thread, once the header is there: must not block; thread-safe.
  using Admit = std::function<absl::StatusOr<std::shared_ptr<const Tenant>>(absl::string_view path,
                                                                            absl::string_view authorization)>;
  struct Options {
    /// HOST:PORT; port 0 lets the system choose.
    std::string address = "127.0.0.1:0";
    /// I/O threads; a connection stays with one. 0: one per four cores, at most 16.
    int threads = 0;
    uint64_t max_body_bytes = uint64_t{256} << 20;
    /// Of all requests being received or handled; more are refused with 503.
    uint64_t max_total_body_bytes = uint64_t{2} << 30;
    uint32_t max_header_bytes = 16 << 10;
    /// More are closed as soon as they come.
    uint32_t max_connections = 4096;
    /// For a connection without a request in hand, and for a request whose bytes stop coming.
    absl::Duration idle_timeout = absl::Seconds(60);
    /// For a TLS handshake, and for a header from its first byte on.
    absl::Duration header_timeout = absl::Seconds(20);
    /// HTTPS where it has a key.
    ServerTls tls;
    /// Scripts of any web page may send requests and read answers (CORS): answers allow every origin, and OPTIONS is
    /// answered.
    bool cors = false;
    /// Asked before a request's body is read. Null: nobody is asked.
    Admit admit;
    /// Answers of at least so many bytes are packed (gzip, deflate) for clients that accept it. 0: none are.
    uint64_t min_packed_bytes = 1024;
    /// Where bodies that came as gzip, or over `inline_body_bytes`, are unpacked and handled, and large answers packed,
    /// so that they don't hold up the I/O thread; not owned, must outlive the server. Null: on the I/O thread.
    Executor* executor = nullptr;
    uint64_t inline_body_bytes = 64 << 10;
  };
  /// From any thread, once. One that is dropped without a call answers 500.
  using Respond = absl::AnyInvocable<void(HttpReply)>;
  /// On an I/O thread (or a task of the executor), several at a time where there are more: hands off fast. `request`
  /// lives until `respond` was called.
  using Handler = std::function<void(const HttpRequest& request, Respond respond)>;

  /// UNAVAILABLE when the address is taken; INVALID_ARGUMENT for keys that are none.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(Options options, Handler handler);
  virtual ~HttpServer() = default;

  /// HOST:PORT as bound.
  virtual const std::string& address() const = 0;
  /// Keys of the handshakes that begin from now on; connections stay. An error changes nothing: keys that are none,
  /// or that turn TLS or mutual TLS on or off. From any thread.
  virtual absl::Status SetTls(const ServerTls& tls) = 0;
  /// Stops accepting, lets requests in hand finish at most `timeout`, then closes. Replies that come later are dropped.
  virtual void Stop(absl::Duration timeout) = 0;
};

/// 400, 404, ... for a status, by the table of the TensorFlow Serving contract.
int HttpCode(const absl::Status& status);

/// The reply to a request that failed: HttpCode() and {"error": "..."}.
HttpReply ErrorReply(const absl::Status& status);
/// The same of another code.
HttpReply ErrorReply(int code, absl::string_view message);

}  // namespace portico
