#include "node/frontend/http_answer.h"

#include <boost/beast/http/status.hpp>
#include <utility>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

namespace http = boost::beast::http;

/// What a browser asks before it lets a page of another origin send a request and read the answer.
constexpr absl::string_view kCorsHeaders =
    "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: POST, GET\r\n"
    "Access-Control-Allow-Headers: Content-Type, Content-Encoding, Authorization, traceparent, tracestate\r\n";

}  // namespace

void HttpAnswer::Make(const HttpReply& reply, const Form& form) {
  const boost::beast::string_view reason =
      http::obsolete_reason(http::int_to_status(static_cast<unsigned>(reply.code)));
  bytes_.clear();
  bytes_.reserve(256 + (form.head ? 0 : reply.body.size()));
  absl::StrAppend(&bytes_, "HTTP/1.1 ", reply.code, " ", absl::string_view(reason.data(), reason.size()),
                  "\r\nContent-Type: ", reply.content_type, "\r\nContent-Length: ", reply.body.size(), "\r\n");
  if (!form.keep_alive)
    bytes_ += "Connection: close\r\n";
  else if (form.http10)
    bytes_ += "Connection: keep-alive\r\n";
  if (form.cors) bytes_.append(kCorsHeaders.data(), kCorsHeaders.size());
  for (const auto& [name, value] : reply.headers) absl::StrAppend(&bytes_, name, ": ", value, "\r\n");
  bytes_ += "\r\n";
  if (!form.head) bytes_ += reply.body;
  sent_ = 0;
}

void HttpAnswer::MakeContinue() {
  bytes_ = "HTTP/1.1 100 Continue\r\n\r\n";
  sent_ = 0;
}

void HttpAnswer::Clear() {
  // A large body's memory is not kept for the next request.
  if (bytes_.capacity() > (64 << 10)) bytes_ = {};
}

void PackReply(ContentCoding coding, HttpReply* reply) {
  std::string packed = Pack(coding, reply->body);
  if (packed.empty()) return;
  reply->body = std::move(packed);
  reply->headers.emplace_back("Content-Encoding", std::string(ContentCodingName(coding)));
}

}  // namespace portico
