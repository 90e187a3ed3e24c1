#pragma once

#include <boost/beast/http/parser.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "codec/http_body.h"
#include "node/frontend/http_server.h"

namespace portico {

/// The request that a connection reads, and what it says until it is answered: within the server's limits, with what is
/// wrong with it as replies. A request goes from Begin() by its connection's reads to CheckServed(), Unpack() and
/// Fill(). Not thread-safe: used by whoever has the request. What it gives out lives until Begin() or Clear().
class HttpParser {
 public:
  using Parser = boost::beast::http::request_parser<PaddedBody>;

  /// `options` is not owned and must outlive the parser.
  explicit HttpParser(const HttpServer::Options& options) : options_(options) {}

  /// A new request. The others but Clear() are for after this.
  void Begin();
  /// Gives the request's memory back.
  void Clear() { parser_.reset(); }
  /// What the bytes are read into.
  Parser& parser() { return *parser_; }

  bool header_done() const { return parser_->is_header_done(); }
  bool done() const { return parser_->is_done(); }
  /// Of its body, so far; padding included once it is done.
  uint64_t body_bytes() const { return parser_->get().body().size(); }
  bool keep_alive() const { return parser_->get().keep_alive(); }
  bool http10() const { return parser_->get().version() < 11; }
  bool head() const { return header_done() && parser_->get().method() == boost::beast::http::verb::head; }
  /// A browser's question before a request of another origin.
  bool preflight() const { return options_.cors && parser_->get().method() == boost::beast::http::verb::options; }
  /// Its body came packed.
  bool packed() const { return packed_; }
  /// Empty when there is no such header.
  absl::string_view Header(absl::string_view name) const;

  /// The reply to what cannot be read; none where it is the connection that ended.
  std::optional<HttpReply> ReplyTo(boost::system::error_code error) const;
  /// The reply to a whole request that is not served: its method, its body's coding.
  std::optional<HttpReply> CheckServed();
  /// Unpacks a packed body; the reply where that fails.
  std::optional<HttpReply> Unpack();
  void FillTarget(HttpRequest* request) const;
  /// Method, target and body. REQUIRES: done().
  void Fill(HttpRequest* request) const;

 private:
  const HttpServer::Options& options_;
  std::optional<Parser> parser_;
  bool packed_ = false;
};

}  // namespace portico
