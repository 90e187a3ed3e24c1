#include "hub/http_get.h"

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <limits>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "transport/tls_client_context.h"
#include "transport/tls_host.h"

namespace portico {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr std::chrono::milliseconds kLookPeriod{100};
constexpr size_t kPieceBytes = size_t{256} << 10;
constexpr size_t kMaxHeaderBytes = size_t{64} << 10;
/// What is read ahead: a header, or the rest of a piece. A line of chunks that is longer is none.
constexpr size_t kMaxBufferBytes = kMaxHeaderBytes + kPieceBytes;
/// Of an error's body, and of what it says, for the message.
constexpr size_t kMaxReasonBytes = 4 << 10;
constexpr size_t kMaxShownBytes = 160;

using Sink = absl::FunctionRef<absl::Status(uint64_t, absl::string_view)>;

bool IsRedirection(unsigned code) { return code == 301 || code == 302 || code == 303 || code == 307 || code == 308; }

absl::StatusCode CodeOf(unsigned code) {
  if (code == 404 || code == 410) return absl::StatusCode::kNotFound;
  if (code == 401 || code == 403) return absl::StatusCode::kPermissionDenied;
  if (code == 416) return absl::StatusCode::kOutOfRange;
  if (code == 408 || code == 429 || code >= 500) return absl::StatusCode::kUnavailable;
  return absl::StatusCode::kFailedPrecondition;
}

/// What an error's body says, in one line: pages are for browsers, so tags and what does not show are left out, and its
/// end where it is long.
std::string ReasonLine(absl::string_view body) {
  std::string line;
  while (!body.empty()) {
    if (body.front() == '<') {
      const bool hidden = absl::StartsWithIgnoreCase(body, "<style") || absl::StartsWithIgnoreCase(body, "<script");
      size_t end = body.find('>');
      if (hidden && end != absl::string_view::npos) end = body.find('>', body.find("</", end));
      body.remove_prefix(end == absl::string_view::npos ? body.size() : end + 1);
      line += ' ';
      continue;
    }
    const auto c = static_cast<unsigned char>(body.front());
    line += c < 0x20 || c >= 0x7F ? ' ' : body.front();
    body.remove_prefix(1);
  }
  absl::RemoveExtraAsciiWhitespace(&line);
  if (line.size() <= kMaxShownBytes) return line;
  return absl::StrCat(line.substr(0, kMaxShownBytes), "…");
}

/// Where the body of a 206 begins: "bytes 100-199/200". The largest number where it does not say.
uint64_t RangeBegin(absl::string_view range) {
  uint64_t begin = 0;
  const bool says = absl::ConsumePrefix(&range, "bytes ") && absl::SimpleAtoi(range.substr(0, range.find('-')), &begin);
  return says ? begin : std::numeric_limits<uint64_t>::max();
}

/// One request on a connection of its own. Each step is asynchronous, because only those obey the stream's time limit,
/// and run to its end before the next.
class Get {
 public:
  Get(const Url& url, const HttpGetOptions& options, uint64_t offset) : url_(url), options_(options), offset_(offset) {}

  /// Where to go on, after a redirection; empty after the whole body.
  absl::StatusOr<std::string> Run(Sink sink) {
    boost::system::error_code error;
    asio::ip::tcp::resolver resolver(io_);
    const auto endpoints = resolver.resolve(url_.host, absl::StrCat(url_.port), error);
    if (error) return Failed("look up its host", error, "check the address");
    stream_.expires_after(absl::ToChronoNanoseconds(options_.connect_timeout));
    stream_.async_connect(endpoints, [&](boost::system::error_code done, const auto&) { error = done; });
    RunStep();
    if (error) return Failed("connect", error, "check the address, and whether it serves");
    if (!url_.tls) return Exchange(stream_, sink);

    ASSIGN_OR_RETURN(const auto context, NewTlsClientContext({}));
    asio::ssl::stream<beast::tcp_stream&> tls(stream_, *context);
    ExpectTlsHost(tls.native_handle(), url_.host);
    tls.async_handshake(asio::ssl::stream_base::client, [&](boost::system::error_code done) { error = done; });
    RunStep();
    if (error) return Failed("TLS handshake", error);
    return Exchange(tls, sink);
  }

 private:
  template <typename Stream>
  absl::StatusOr<std::string> Exchange(Stream& stream, Sink sink) {
    boost::system::error_code error;
    http::request<http::empty_body> request = Request();
    Expire();
    http::async_write(stream, request, [&](boost::system::error_code done, size_t) { error = done; });
    RunStep();
    if (error) return Failed("send", error);

    http::response_parser<http::buffer_body> response;
    response.body_limit(std::numeric_limits<uint64_t>::max());
    response.header_limit(kMaxHeaderBytes);
    beast::flat_buffer buffer(kMaxBufferBytes);
    Expire();
    http::async_read_header(stream, buffer, response, [&](boost::system::error_code done, size_t) { error = done; });
    RunStep();
    if (error) return Failed("read", error);

    const unsigned code = response.get().result_int();
    if (IsRedirection(code)) {
      const auto location = response.get()[http::field::location];
      if (!location.empty()) return std::string(location);
    }
    uint64_t at = 0;
    if (code == 206) {
      const auto range = response.get()[http::field::content_range];
      at = RangeBegin({range.data(), range.size()});
      if (at != offset_) {
        return absl::FailedPreconditionError(
            absl::StrCat("GET '", url_.ToString(), "': got range '",
                         absl::CHexEscape({range.data(), std::min<size_t>(range.size(), 80)}), "', want bytes from ",
                         offset_, " on"));
      }
    }
    const bool good = code == 200 || code == 206;
    std::string reason;
    std::string piece(kPieceBytes, '\0');
    while (!response.is_done()) {
      response.get().body().data = piece.data();
      response.get().body().size = piece.size();
      Expire();
      http::async_read_some(stream, buffer, response, [&](boost::system::error_code done, size_t) { error = done; });
      RunStep();
      if (error && error != http::error::need_buffer) return Failed("read", error);
      const absl::string_view bytes(piece.data(), piece.size() - response.get().body().size);
      if (Cancelled()) return Interrupted();
      if (absl::Now() > (good ? options_.end : std::min(options_.end, began_ + options_.text_timeout))) {
        return TooSlow(code);
      }
      if (!good) {
        absl::StrAppend(&reason, bytes.substr(0, kMaxReasonBytes - reason.size()));
        if (reason.size() >= kMaxReasonBytes) break;
        continue;
      }
      if (bytes.empty()) continue;
      RETURN_IF_ERROR(sink(at, bytes));
      at += bytes.size();
    }
    if (good) return std::string();
    reason = ReasonLine(reason);
    return absl::Status(CodeOf(code), absl::StrCat("GET '", url_.ToString(), "': got ", code, " ",
                                                   std::string(http::obsolete_reason(response.get().result())),
                                                   reason.empty() ? "" : ": ", reason));
  }

  void Expire() { stream_.expires_after(absl::ToChronoNanoseconds(options_.idle_timeout)); }

  void RunStep() {
    io_.restart();
    if (!options_.cancelled) {
      io_.run();
      return;
    }
    while (!io_.stopped()) {
      io_.run_for(kLookPeriod);
      // The step then ends with an error of its own.
      if (!io_.stopped() && Cancelled()) stream_.close();
    }
  }

  bool Cancelled() {
    cancelled_ = cancelled_ || (options_.cancelled && options_.cancelled());
    return cancelled_;
  }
  absl::Status Interrupted() const {
    return absl::CancelledError(absl::StrCat("GET '", url_.ToString(), "': interrupted"));
  }
  absl::Status TooSlow(unsigned code) const {
    return absl::DeadlineExceededError(
        absl::StrCat("GET '", url_.ToString(), "': got ", code, " and not all of it in ",
                     absl::FormatDuration(absl::Trunc(absl::Now() - began_, absl::Milliseconds(1))),
                     ", want it sooner; the server is too slow"));
  }

  http::request<http::empty_body> Request() const {
    http::request<http::empty_body> request(http::verb::get, url_.target, 11);
    request.set(http::field::host, url_.Authority());
    request.set(http::field::connection, "close");
    request.set(http::field::accept_encoding, "identity");
    request.set(http::field::user_agent, "portico");
    if (offset_ > 0) request.set(http::field::range, absl::StrCat("bytes=", offset_, "-"));
    if (options_.headers) {
      for (const auto& [name, value] : options_.headers(url_)) request.set(name, value);
    }
    return request;
  }

  absl::Status Failed(absl::string_view what, const boost::system::error_code& error,
                      absl::string_view remedy = "") const {
    if (cancelled_) return Interrupted();
    const std::string message =
        absl::StrCat("GET '", url_.ToString(), "': ", what, ": ", error.message(), remedy.empty() ? "" : "; ", remedy);
    if (error == beast::error::timeout) return absl::DeadlineExceededError(message);
    // It would be the same the next time.
    if (error == http::error::buffer_overflow || error == http::error::header_limit) {
      return absl::FailedPreconditionError(message);
    }
    return absl::UnavailableError(message);
  }

  const Url& url_;
  const HttpGetOptions& options_;
  const uint64_t offset_;
  asio::io_context io_{1};
  beast::tcp_stream stream_{io_};
  const absl::Time began_ = absl::Now();
  bool cancelled_ = false;
};

}  // namespace

absl::Status HttpGet(const Url& url, const HttpGetOptions& options, uint64_t offset, Sink sink) {
  Url at = url;
  try {
    for (int hops = 0;; ++hops) {
      ASSIGN_OR_RETURN(const std::string location, Get(at, options, offset).Run(sink));
      if (location.empty()) return absl::OkStatus();
      ASSIGN_OR_RETURN(Url next, ResolveUrl(at, location));
      if (hops == options.max_redirects) {
        return absl::FailedPreconditionError(absl::StrCat("GET '", url.ToString(), "': got more than ",
                                                          options.max_redirects, " redirections, want at most that"));
      }
      if (at.tls && !next.tls) {
        return absl::FailedPreconditionError(
            absl::StrCat("GET '", at.ToString(), "': got a redirection to '", next.ToString(), "', want https"));
      }
      at = std::move(next);
    }
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("GET '", at.ToString(), "': ", error.what()));
  }
}

absl::StatusOr<std::string> HttpGetText(const Url& url, const HttpGetOptions& options, uint64_t max_bytes) {
  std::string text;
  HttpGetOptions limited = options;
  limited.end = std::min(options.end, absl::Now() + options.text_timeout);
  RETURN_IF_ERROR(HttpGet(url, limited, 0, [&](uint64_t, absl::string_view bytes) {
    if (bytes.size() > max_bytes - text.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("GET '", url.ToString(), "': got more than ", max_bytes, " bytes, want at most that"));
    }
    text.append(bytes.data(), bytes.size());
    return absl::OkStatus();
  }));
  return text;
}

}  // namespace portico
