#include "node/frontend/http_parser.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class HttpParserTest : public ::testing::Test {
 protected:
  HttpParserTest() { parser_.Begin(); }
  /// What reading `text` came to.
  boost::system::error_code Read(const std::string& text) {
    boost::system::error_code error;
    size_t at = 0;
    while (at < text.size() && !error && !parser_.done()) {
      const size_t taken = parser_.parser().put(boost::asio::buffer(text.data() + at, text.size() - at), error);
      if (taken == 0) break;
      at += taken;
    }
    return error;
  }
  static std::string Post(const std::string& headers, const std::string& body) {
    return absl::StrCat("POST /v1/models/m:predict?a=b HTTP/1.1\r\nContent-Length: ", body.size(), "\r\n", headers,
                        "\r\n", body);
  }

  HttpServer::Options options_ = {.max_body_bytes = 100, .max_header_bytes = 256};
  HttpParser parser_{options_};
  HttpRequest request_;
};

TEST_F(HttpParserTest, AWholeRequest) {
  ASSERT_FALSE(Read(Post("X-Id: 7\r\n", "{\"instances\": []}")));
  ASSERT_TRUE(parser_.done());
  EXPECT_FALSE(parser_.CheckServed().has_value());
  EXPECT_FALSE(parser_.Unpack().has_value());
  parser_.Fill(&request_);
  EXPECT_EQ(request_.method, "POST");
  EXPECT_EQ(request_.path, "/v1/models/m:predict");
  EXPECT_EQ(request_.query, "a=b");
  EXPECT_EQ(request_.body, "{\"instances\": []}");
  // Readable, for parsers that read ahead.
  for (size_t i = 0; i < HttpRequest::kBodyPadding; ++i) EXPECT_EQ(request_.body.data()[request_.body.size() + i], 0);
  EXPECT_EQ(parser_.Header("x-id"), "7");
  EXPECT_EQ(parser_.Header("none"), "");
  EXPECT_TRUE(parser_.keep_alive());
  EXPECT_FALSE(parser_.head());
}

TEST_F(HttpParserTest, WhatCannotBeReadHasAReply) {
  EXPECT_EQ(parser_.ReplyTo(Read(Post("", std::string(101, 'x'))))->code, 413);
  parser_.Begin();
  EXPECT_EQ(parser_.ReplyTo(Read(Post("X: " + std::string(300, 'x') + "\r\n", "")))->code, 431);
  parser_.Begin();
  EXPECT_EQ(parser_.ReplyTo(Read("no HTTP at all\r\n\r\n"))->code, 400);
  // A connection that ended is not answered.
  EXPECT_FALSE(parser_.ReplyTo(boost::beast::http::error::end_of_stream).has_value());
  EXPECT_FALSE(parser_.ReplyTo(boost::asio::error::connection_reset).has_value());
}

TEST_F(HttpParserTest, MethodsAndCodingsThatAreNotServedHaveOne) {
  ASSERT_FALSE(Read("DELETE / HTTP/1.1\r\n\r\n"));
  EXPECT_EQ(parser_.CheckServed()->code, 405);
  parser_.Begin();
  ASSERT_FALSE(Read(Post("Content-Encoding: br\r\n", "x")));
  EXPECT_EQ(parser_.CheckServed()->code, 415);
  parser_.Begin();
  ASSERT_FALSE(Read(Post("Content-Encoding: gzip\r\n", "not gzip")));
  EXPECT_FALSE(parser_.CheckServed().has_value());
  EXPECT_TRUE(parser_.packed());
  EXPECT_EQ(parser_.Unpack()->code, 400);
  // Of the next request nothing of it is left.
  parser_.Begin();
  EXPECT_FALSE(parser_.packed());
}

}  // namespace
}  // namespace portico
