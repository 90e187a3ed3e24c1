#include "node/frontend/http_parser.h"

#include <algorithm>
#include <boost/beast/http/error.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "node/frontend/gunzip.h"

namespace portico {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

absl::string_view View(boost::beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace

void HttpParser::Begin() {
  packed_ = false;
  parser_.emplace();
  parser_->header_limit(options_.max_header_bytes);
  parser_->body_limit(options_.max_body_bytes);
  parser_->eager(true);
}

absl::string_view HttpParser::Header(absl::string_view name) const {
  const auto& fields = parser_->get();
  const auto it = fields.find(boost::beast::string_view(name.data(), name.size()));
  return it == fields.end() ? absl::string_view() : View(it->value());
}

std::optional<HttpReply> HttpParser::ReplyTo(error_code error) const {
  if (error == http::error::body_limit) {
    return ErrorReply(413, absl::StrCat("body: got over ", options_.max_body_bytes, " bytes, want at most that"));
  }
  if (error == http::error::header_limit) {
    return ErrorReply(431, absl::StrCat("header: got over ", options_.max_header_bytes, " bytes, want at most that"));
  }
  // What is left of HTTP's errors is a malformed request; but a connection that ends is no error.
  if (error.category() == make_error_code(http::error::bad_method).category() && error != http::error::end_of_stream &&
      error != http::error::partial_message) {
    return ErrorReply(400, absl::StrCat("request: not HTTP/1.1: ", error.message()));
  }
  return std::nullopt;
}

std::optional<HttpReply> HttpParser::CheckServed() {
  const auto& message = parser_->get();
  if (message.method() != http::verb::get && message.method() != http::verb::head &&
      message.method() != http::verb::post) {
    return ErrorReply(405, absl::StrCat("method: got ", View(message.method_string()), ", want GET, HEAD or POST"));
  }
  const absl::string_view coding = Header("content-encoding");
  packed_ = absl::EqualsIgnoreCase(coding, "gzip") || absl::EqualsIgnoreCase(coding, "x-gzip") ||
            absl::EqualsIgnoreCase(coding, "deflate");
  if (!packed_ && !coding.empty() && !absl::EqualsIgnoreCase(coding, "identity")) {
    return ErrorReply(415, absl::StrCat("content-encoding: got '", coding, "', want gzip, deflate or none"));
  }
  return std::nullopt;
}

std::optional<HttpReply> HttpParser::Unpack() {
  if (!packed_) return std::nullopt;
  std::string& body = parser_->get().body();
  absl::StatusOr<std::string> plain =
      Gunzip({body.data(), body.size() - HttpRequest::kBodyPadding}, options_.max_body_bytes);
  if (!plain.ok()) {
    HttpReply reply = ErrorReply(plain.status());
    if (absl::IsResourceExhausted(plain.status())) reply.code = 413;
    return reply;
  }
  body = *std::move(plain);
  body.append(HttpRequest::kBodyPadding, '\0');
  return std::nullopt;
}

void HttpParser::FillTarget(HttpRequest* request) const {
  const absl::string_view target = View(parser_->get().target());
  const size_t question = target.find('?');
  request->path = target.substr(0, question);
  request->query = question == target.npos ? absl::string_view() : target.substr(question + 1);
}

void HttpParser::Fill(HttpRequest* request) const {
  FillTarget(request);
  const auto& message = parser_->get();
  request->method = View(message.method_string());
  request->body = {message.body().data(), message.body().size() - HttpRequest::kBodyPadding};
}

}  // namespace portico
