#include "node/frontend/http_answer.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

HttpReply Reply() {
  HttpReply reply;
  reply.code = 404;
  reply.body = "{}";
  reply.headers.emplace_back("Vary", "Accept-Encoding");
  return reply;
}

TEST(HttpAnswerTest, AReplyIsOnePiece) {
  HttpAnswer answer;
  answer.Make(Reply(), {});
  EXPECT_EQ(std::string(answer.unsent()),
            "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\nVary: "
            "Accept-Encoding\r\n\r\n{}");
}

TEST(HttpAnswerTest, TheRequestSaysWhatElse) {
  HttpAnswer answer;
  answer.Make(Reply(), {.head = true});
  EXPECT_THAT(std::string(answer.unsent()), HasSubstr("Content-Length: 2\r\n"));
  EXPECT_THAT(std::string(answer.unsent()), EndsWith("\r\n\r\n"));
  answer.Make(Reply(), {.http10 = true});
  EXPECT_THAT(std::string(answer.unsent()), HasSubstr("Connection: keep-alive\r\n"));
  answer.Make(Reply(), {.http10 = true, .keep_alive = false});
  EXPECT_THAT(std::string(answer.unsent()), HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(std::string(answer.unsent()), Not(HasSubstr("Access-Control")));
  answer.Make(Reply(), {.cors = true});
  EXPECT_THAT(std::string(answer.unsent()), HasSubstr("Access-Control-Allow-Origin: *\r\n"));
}

TEST(HttpAnswerTest, WhatWasSentIsGone) {
  HttpAnswer answer;
  answer.MakeContinue();
  const size_t size = answer.unsent().size();
  answer.Sent(9);
  EXPECT_THAT(std::string(answer.unsent()), StartsWith("100 Continue"));
  answer.Sent(size - 9);
  EXPECT_TRUE(answer.unsent().empty());
}

TEST(PackReplyTest, OnlyWhatGetsSmallerIsPacked) {
  HttpReply reply;
  reply.body = std::string(1000, 'a');
  PackReply(ContentCoding::kGzip, &reply);
  EXPECT_LT(reply.body.size(), 100u);
  ASSERT_EQ(reply.headers.size(), 1u);
  EXPECT_EQ(reply.headers[0].second, "gzip");
  HttpReply tiny;
  tiny.body = "a";
  PackReply(ContentCoding::kGzip, &tiny);
  EXPECT_EQ(tiny.body, "a");
  EXPECT_TRUE(tiny.headers.empty());
}

}  // namespace
}  // namespace portico
