#include "hub/http_store.h"

#include <atomic>
#include <cstdlib>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hub/http_get.h"
#include "tests/hub/file_server.h"
#include "tests/hub/hub_folder.h"
#include "tests/testing/free_port.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::string> GetText(const std::string& url, HttpGetOptions options = {}) {
  auto parsed = ParseUrl(url);
  if (!parsed.ok()) return parsed.status();
  return HttpGetText(*parsed, options, 1 << 20);
}

TEST(UrlTest, PartsAreRead) {
  const auto url = ParseUrl("https://Models.Example.com/hub/a?b=c#d");
  ASSERT_TRUE(url.ok());
  EXPECT_TRUE(url->tls);
  EXPECT_EQ(url->host, "models.example.com");
  EXPECT_EQ(url->port, 443);
  EXPECT_EQ(url->target, "/hub/a?b=c");
  EXPECT_EQ(url->Authority(), "models.example.com");
  EXPECT_EQ(ParseUrl("http://[::1]:80")->Authority(), "[::1]");
  EXPECT_EQ(ParseUrl("http://[::1]:8000/x")->ToString(), "http://[::1]:8000/x");
  EXPECT_EQ(ParseUrl("http://h?q=1")->target, "/?q=1");
  for (const char* bad : {"", "ftp://h/", "http://", "http://h:0/", "http://h:99999/", "http://h:x/", "http://a b/",
                          "http://h/a b", "http://h/\r\nX: y", "http://user:secret@h/", "http://[::1/"}) {
    EXPECT_FALSE(ParseUrl(bad).ok()) << bad;
  }
  EXPECT_THAT(std::string(ParseUrl("http://user:secret@h/").status().message()), ::testing::Not(HasSubstr("secret")));
}

TEST(UrlTest, RedirectionsAreResolved) {
  const Url from = *ParseUrl("https://h:1/a/b?c");
  EXPECT_EQ(ResolveUrl(from, "/x")->ToString(), "https://h:1/x");
  EXPECT_EQ(ResolveUrl(from, "x")->ToString(), "https://h:1/a/x");
  EXPECT_EQ(ResolveUrl(from, "//g/x")->ToString(), "https://g/x");
  EXPECT_EQ(ResolveUrl(from, "http://g/x")->ToString(), "http://g/x");
  EXPECT_EQ(PercentEncode("a b/ä", true), "a%20b/%C3%A4");
  EXPECT_EQ(PercentEncode("a/b", false), "a%2Fb");
}

TEST(HttpGetTest, CodesBecomeStatuses) {
  FileServer server("/nowhere");
  int code = 0;
  server.handler = [&](const FileServer::Request&) { return FileServer::Reply{code, "why\x1b[31m not", {}}; };
  for (const auto& [sent, want] :
       {std::pair(404, absl::StatusCode::kNotFound), std::pair(410, absl::StatusCode::kNotFound),
        std::pair(401, absl::StatusCode::kPermissionDenied), std::pair(403, absl::StatusCode::kPermissionDenied),
        std::pair(503, absl::StatusCode::kUnavailable), std::pair(429, absl::StatusCode::kUnavailable),
        std::pair(416, absl::StatusCode::kOutOfRange), std::pair(400, absl::StatusCode::kFailedPrecondition),
        std::pair(304, absl::StatusCode::kFailedPrecondition)}) {
    code = sent;
    const absl::Status status = GetText(server.url() + "/x").status();
    EXPECT_EQ(status.code(), want) << status;
    EXPECT_EQ(std::string(status.message()).find('\x1b'), std::string::npos);
  }
}

TEST(HttpGetTest, PagesForBrowsersBecomeALine) {
  FileServer server("/nowhere");
  const auto said = [&](const std::string& body) {
    server.handler = [body](const FileServer::Request&) { return FileServer::Reply{404, body, {}}; };
    const std::string message(GetText(server.url() + "/x").status().message());
    return message.substr(message.find("got 404") + 4);
  };
  EXPECT_EQ(said("<!DOCTYPE HTML>\n<html lang=\"en\">\n<head>\n<style type='text/css'>a > b {}</style><title>Error "
                 "response</title>\n</head><body>\n  <p>Message: File\n not found.</p></body></html>\n"),
            "404 Not Found: Error response Message: File not found.");
  EXPECT_EQ(said("<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>"), "404 Not Found: NoSuchKey");
  EXPECT_EQ(said("no such file"), "404 Not Found: no such file");
  for (const char* empty : {"", "<html></html>", "<", "<style>a > b", "<style"})
    EXPECT_EQ(said(empty), "404 Not Found");
  EXPECT_EQ(said(std::string(100'000, 'x')), "404 Not Found: " + std::string(160, 'x') + "…");
}

TEST(HttpGetTest, RedirectionsAreFollowedWithinBoundsAndTokensStayWithTheirServer) {
  FileServer elsewhere("/nowhere");
  elsewhere.handler = [](const FileServer::Request& request) {
    return FileServer::Reply{200, request.headers.contains("x-secret") ? "leaked" : "there", {}};
  };
  FileServer server("/nowhere");
  server.handler = [&](const FileServer::Request& request) -> FileServer::Reply {
    if (request.target == "/a") return {302, "", {{"Location", "/b"}}};
    if (request.target == "/b") return {307, "", {{"Location", elsewhere.url() + "/c"}}};
    if (request.target == "/loop") return {301, "", {{"Location", "/loop"}}};
    return {404, "", {}};
  };
  HttpGetOptions options;
  const Url home = *ParseUrl(server.url());
  options.headers = [&](const Url& at) {
    return at.IsSameServer(home) ? HttpHeaders{{"X-Secret", "s"}} : HttpHeaders();
  };
  EXPECT_EQ(*GetText(server.url() + "/a", options), "there");
  EXPECT_EQ(server.requests()[1].headers.at("x-secret"), "s");
  EXPECT_THAT(std::string(GetText(server.url() + "/loop").status().message()), HasSubstr("more than 5 redirections"));
}

TEST(HttpGetTest, LongBodiesSilenceAndNobodyThereAreErrors) {
  FileServer server("/nowhere");
  server.handler = [](const FileServer::Request&) { return FileServer::Reply{200, std::string(2 << 20, 'x'), {}}; };
  EXPECT_EQ(GetText(server.url() + "/x").status().code(), absl::StatusCode::kInvalidArgument);
  HttpGetOptions options;
  options.idle_timeout = absl::Milliseconds(50);
  server.handler = [](const FileServer::Request&) {
    absl::SleepFor(absl::Seconds(2));
    return FileServer::Reply{};
  };
  EXPECT_EQ(GetText(server.url() + "/x", options).status().code(), absl::StatusCode::kDeadlineExceeded);
  const HeldPort nobody;
  EXPECT_EQ(GetText(absl::StrCat("http://127.0.0.1:", nobody.number(), "/")).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(HttpGetTest, ATextThatTakesTooLongAndOneThatNobodyWaitsForEnd) {
  FileServer server("/nowhere");
  HttpGetOptions options;
  options.text_timeout = absl::ZeroDuration();
  server.handler = [](const FileServer::Request&) { return FileServer::Reply{200, "text", {}}; };
  const absl::Status slow = GetText(server.url() + "/x", options).status();
  EXPECT_EQ(slow.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(slow.message()), HasSubstr("the server is too slow"));

  // Errors with what they say are no exception.
  server.handler = [](const FileServer::Request&) { return FileServer::Reply{503, "why", {}}; };
  EXPECT_EQ(GetText(server.url() + "/x", options).status().code(), absl::StatusCode::kDeadlineExceeded);
  const auto take = [](uint64_t, absl::string_view) { return absl::OkStatus(); };
  EXPECT_EQ(HttpGet(*ParseUrl(server.url()), options, 0, take).code(), absl::StatusCode::kDeadlineExceeded);
  // Files take as long as they take, unless it is said when they have to be there.
  server.handler = [](const FileServer::Request&) { return FileServer::Reply{200, "text", {}}; };
  EXPECT_TRUE(HttpGet(*ParseUrl(server.url()), options, 0, take).ok());
  options.end = absl::Now();
  EXPECT_EQ(HttpGet(*ParseUrl(server.url()), options, 0, take).code(), absl::StatusCode::kDeadlineExceeded);
  options.end = absl::InfiniteFuture();

  options.text_timeout = absl::Seconds(60);
  std::atomic<bool> cancelled = false, asked = false;
  options.cancelled = [&] { return cancelled.load(); };
  EXPECT_EQ(*GetText(server.url() + "/x", options), "text");
  server.handler = [&](const FileServer::Request&) {
    asked = true;
    for (int i = 0; i < 3000 && !cancelled; ++i) absl::SleepFor(absl::Milliseconds(1));
    absl::SleepFor(absl::Seconds(2));
    return FileServer::Reply{200, "late", {}};
  };
  std::thread client([&] {
    while (!asked) absl::SleepFor(absl::Milliseconds(1));
    cancelled = true;
  });
  EXPECT_EQ(GetText(server.url() + "/x", options).status().code(), absl::StatusCode::kCancelled);
  client.join();
}

TEST(UrlTest, LoopbackIsAnAddressOrLocalhost) {
  for (const char* url : {"http://127.0.0.1/", "http://127.3.2.1:80/", "http://localhost/", "http://[::1]/"}) {
    EXPECT_TRUE(ParseUrl(url)->IsLoopback()) << url;
  }
  for (const char* url : {"http://127.evil.example/", "http://127.0.0.1.evil.example/", "http://128.0.0.1/",
                          "http://localhost.example/", "http://[::2]/"}) {
    EXPECT_FALSE(ParseUrl(url)->IsLoopback()) << url;
  }
}

TEST(HttpGetTest, ALineOfChunksThatDoesNotEndIsRefusedForGood) {
  FileServer server("/nowhere");
  server.handler = [](const FileServer::Request&) {
    return FileServer::Reply{200, "1;" + std::string(4 << 20, 'x'), {{"Transfer-Encoding", "chunked"}}};
  };
  EXPECT_EQ(GetText(server.url() + "/x").status().code(), absl::StatusCode::kFailedPrecondition);
  server.handler = [](const FileServer::Request&) {
    return FileServer::Reply{200, "3\r\nabc\r\n0\r\n\r\n", {{"Transfer-Encoding", "chunked"}}};
  };
  EXPECT_EQ(*GetText(server.url() + "/x"), "abc");
}

TEST(HttpStoreTest, ListsByItsIndexAndReadsManifests) {
  HubFolder hub;
  hub.Put("acme/encoder/1", 1);
  hub.Put("acme/encoder/12", 2);
  FileServer server(hub.root());
  const auto store = NewHttpStore(server.url() + "/");
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ((*store)->url(), server.url());
  const auto entries = (*store)->List();
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[1].handle.ToString(), "acme/encoder/12");
  EXPECT_EQ(ReadManifest(**store, (*entries)[1].handle)->digest, (*entries)[1].digest);
  const auto none = ReadManifest(**store, *ParseHandle("acme/encoder/2"));
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("versions 1, 12 of it"));
}

TEST(HttpStoreTest, WrongPathsAreSaidToBe) {
  FileServer server("/nowhere");
  const auto store = NewHttpStore(server.url() + "/hub");
  const absl::Status status = (*store)->List().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("check the path"));
  EXPECT_FALSE(NewHttpStore(server.url() + "/?x").ok());
  server.handler = [](const FileServer::Request&) { return FileServer::Reply{200, "<html>", {}}; };
  EXPECT_THAT(std::string((*store)->List().status().message()), HasSubstr("index: got"));
}

TEST(HttpStoreTest, TheTokenIsSent) {
  HubFolder hub;
  hub.Put("acme/encoder/1", 1);
  FileServer server(hub.root());
  setenv("PORTICO_HUB_TOKEN", "t0ken", 1);
  const auto store = NewHttpStore(server.url());
  unsetenv("PORTICO_HUB_TOKEN");
  ASSERT_TRUE((*store)->List().ok());
  EXPECT_EQ(server.requests()[0].headers.at("authorization"), "Bearer t0ken");
}

}  // namespace
}  // namespace portico
