#include "node/frontend/http_server.h"

#include <zlib.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/frontend/access.h"
#include "node/frontend/gunzip.h"
#include "tests/node/frontend/http_serving.h"
#include "tests/node/frontend/raw_http.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

/// Answers with what it was asked.
void Echo(const HttpRequest& request, HttpServer::Respond respond) {
  respond(Text(absl::StrCat(request.method, " ", request.path, "?", request.query, " ", request.body)));
}

std::string Gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

TEST(HttpServerTest, KeepsConnectionAndSplitsPathFromQuery) {
  const auto server = Serve(Echo);
  RawHttp client(server->address());
  EXPECT_EQ(client.Get("/a?b=c&d").body, "GET /a?b=c&d ");
  EXPECT_EQ(client.Post("/p", "body").body, "POST /p? body");
  EXPECT_EQ(client.Post("/p", "").body, "POST /p? ");
}

TEST(HttpServerTest, BodyHasPaddingBehindIt) {
  const auto server = Serve([](const HttpRequest& request, HttpServer::Respond respond) {
    bool zeros = true;
    for (size_t i = 0; i < HttpRequest::kBodyPadding; ++i)
      zeros &= request.body.data()[request.body.size() + i] == '\0';
    respond(Text(zeros ? "padded" : "not padded"));
  });
  RawHttp client(server->address());
  EXPECT_EQ(client.Get("/").body, "padded");
  EXPECT_EQ(client.Post("/", "x").body, "padded");
  EXPECT_EQ(client.Post("/", Gzip("x"), "Content-Encoding: gzip\r\n").body, "padded");
  client.Send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
  EXPECT_EQ(client.Receive().body, "padded");
}

TEST(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  const auto server = Serve([](const HttpRequest& request, HttpServer::Respond respond) {
    // From other threads, so that answers could overtake each other.
    std::thread([respond = std::move(respond), path = std::string(request.path)]() mutable {
      respond(Text(path));
    }).detach();
  });
  RawHttp client(server->address());
  std::string requests;
  for (int i = 0; i < 50; ++i) absl::StrAppend(&requests, "GET /", i, " HTTP/1.1\r\n\r\n");
  client.Send(requests);
  for (int i = 0; i < 50; ++i) ASSERT_EQ(client.Receive().body, absl::StrCat("/", i));
}

TEST(HttpServerTest, HeadHasNoBodyAndOtherMethodsAreRefused) {
  const auto server = Serve(Echo);
  RawHttp client(server->address());
  client.Send("HEAD /x HTTP/1.1\r\n\r\n");
  const RawResponse head = client.Receive(true);
  EXPECT_EQ(head.code, 200);
  EXPECT_THAT(head.head, HasSubstr("Content-Length: 9"));
  EXPECT_EQ(client.Get("/y").body, "GET /y? ");
  client.Send("DELETE /x HTTP/1.1\r\n\r\n");
  EXPECT_EQ(client.Receive().code, 405);
  EXPECT_TRUE(client.Closed());
}

TEST(HttpServerTest, CorsHeadersAreThereOnlyWhereAskedFor) {
  HttpServer::Options options;
  options.cors = true;
  const auto server = Serve(Echo, options);
  RawHttp client(server->address());
  client.Send("OPTIONS /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nOrigin: http://page\r\n\r\n");
  const RawResponse preflight = client.Receive();
  EXPECT_EQ(preflight.code, 200);
  EXPECT_THAT(preflight.head, HasSubstr("Access-Control-Allow-Origin: *"));
  EXPECT_THAT(preflight.head, HasSubstr("Access-Control-Allow-Methods: POST, GET"));
  const RawResponse answer = client.Post("/x", "body");
  EXPECT_EQ(answer.body, "POST /x? body");
  EXPECT_THAT(answer.head, HasSubstr("Access-Control-Allow-Origin: *"));

  const auto plain = Serve(Echo);
  RawHttp other(plain->address());
  EXPECT_THAT(other.Get("/x").head, ::testing::Not(HasSubstr("Access-Control")));
  other.Send("OPTIONS /x HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(other.Receive().code, 405);
}

TEST(HttpServerTest, ExpectedContinueIsSentBeforeTheBody) {
  const auto server = Serve(Echo);
  RawHttp client(server->address());
  client.Send("POST /p HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(client.Receive(true).code, 100);
  client.Send("abc");
  EXPECT_EQ(client.Receive().body, "POST /p? abc");
}

TEST(HttpServerTest, GzipBodiesAreUnpackedAndBombsRefused) {
  ThreadPool pool({.threads = 1});
  HttpServer::Options options;
  options.max_body_bytes = 1 << 20;
  options.executor = &pool;
  const auto server = Serve(
      [](const HttpRequest& request, HttpServer::Respond respond) {
        respond(Text(absl::StrCat(request.body.size(), request.body.substr(0, 3))));
      },
      options);
  RawHttp client(server->address());
  const std::string header = "Content-Encoding: gzip\r\n";
  EXPECT_EQ(client.Post("/", Gzip(std::string(1 << 20, 'a')), header).body, "1048576aaa");
  EXPECT_EQ(client.Post("/", Gzip(std::string((1 << 20) + 1, 'a')), header).code, 413);
  EXPECT_EQ(client.Post("/", Gzip(std::string(100 << 20, 'a')), header).code, 413);
  EXPECT_EQ(client.Post("/", Gzip("whole").substr(0, 10), header).code, 400);
  EXPECT_EQ(client.Post("/", "not gzip", header).code, 400);
  EXPECT_EQ(client.Post("/", Gzip("x") + "y", header).code, 400);
  EXPECT_EQ(client.Post("/", "x", "Content-Encoding: br\r\n").code, 415);
}

/// GET /SIZE is answered with a body of SIZE bytes.
void Sized(const HttpRequest& request, HttpServer::Respond respond) {
  respond(Text(std::string(static_cast<size_t>(std::atoll(std::string(request.path.substr(1)).c_str())), 'x')));
}

RawResponse Accepting(RawHttp& client, const std::string& coding, const std::string& path, bool head = false) {
  client.Send(absl::StrCat(head ? "HEAD " : "GET ", path, " HTTP/1.1\r\nAccept-Encoding: ", coding, "\r\n\r\n"));
  return client.Receive(head);
}

TEST(HttpServerTest, AnswersArePackedForClientsThatAccept) {
  ThreadPool pool({.threads = 1});
  for (Executor* executor : {static_cast<Executor*>(nullptr), static_cast<Executor*>(&pool)}) {
    HttpServer::Options options;
    options.executor = executor;
    const auto server = Serve(Sized, options);
    RawHttp client(server->address());
    for (const size_t size : {1024u, 10'000u, 3'000'000u}) {
      for (const char* coding : {"gzip", "deflate"}) {
        const RawResponse packed = Accepting(client, coding, absl::StrCat("/", size));
        EXPECT_EQ(packed.code, 200);
        EXPECT_THAT(packed.head, HasSubstr(absl::StrCat("Content-Encoding: ", coding, "\r\n")));
        EXPECT_THAT(packed.head, HasSubstr("Vary: Accept-Encoding\r\n"));
        EXPECT_LT(packed.body.size(), size / 10);
        EXPECT_EQ(Gunzip(packed.body, size).value_or(""), std::string(size, 'x'));
      }
      const RawResponse plain = Accepting(client, "gzip;q=0", absl::StrCat("/", size));
      EXPECT_EQ(plain.body, std::string(size, 'x'));
      EXPECT_THAT(plain.head, ::testing::Not(HasSubstr("Content-Encoding")));
      EXPECT_THAT(plain.head, HasSubstr("Vary: Accept-Encoding\r\n")) << "a cache must not give it to everybody";
      EXPECT_EQ(client.Get(absl::StrCat("/", size)).body.size(), size);
    }
    const RawResponse small = Accepting(client, "gzip", "/1023");
    EXPECT_EQ(small.body.size(), 1023u);
    EXPECT_THAT(small.head, ::testing::Not(HasSubstr("Vary")));
  }
  HttpServer::Options never;
  never.min_packed_bytes = 0;
  const auto server = Serve(Sized, never);
  RawHttp client(server->address());
  EXPECT_EQ(Accepting(client, "gzip", "/5000").body.size(), 5000u);
}

TEST(HttpServerTest, PackedHeadHasTheHeadersOfGetAndNoBody) {
  const auto server = Serve(Sized);
  RawHttp client(server->address());
  const RawResponse get = Accepting(client, "gzip", "/5000");
  const RawResponse head = Accepting(client, "gzip", "/5000", true);
  EXPECT_EQ(head.head, get.head);
  EXPECT_THAT(head.head, HasSubstr("Content-Encoding: gzip"));
  EXPECT_EQ(client.Get("/3").body, "xxx");
}

TEST(HttpServerTest, PackedAnswersKeepTheOrderOfPipelinedRequests) {
  ThreadPool pool({.threads = 2});
  HttpServer::Options options;
  options.executor = &pool;
  const auto server = Serve(Sized, options);
  RawHttp client(server->address());
  std::string requests;
  for (int i = 0; i < 20; ++i) {
    absl::StrAppend(&requests, "GET /", i % 2 == 0 ? 1'000'000 + i : i, " HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n");
  }
  client.Send(requests);
  for (int i = 0; i < 20; ++i) {
    const RawResponse response = client.Receive();
    const auto body = i % 2 == 0 ? Gunzip(response.body, 2'000'000) : response.body;
    ASSERT_TRUE(body.ok()) << body.status();
    EXPECT_EQ(body->size(), static_cast<size_t>(i % 2 == 0 ? 1'000'000 + i : i));
  }
}

TEST(HttpServerTest, WhoRespondsMayPackItself) {
  /// Busy for ever.
  class Busy final : public Executor {
   public:
    void Schedule(Task task) override {}
  } busy;
  HttpServer::Options options;
  options.executor = &busy;
  const auto server = Serve(
      [](const HttpRequest&, HttpServer::Respond respond) {
        HttpReply reply = Text(std::string(1'000'000, 'x'));
        reply.pack_here = true;
        respond(std::move(reply));
      },
      options);
  RawHttp client(server->address());
  client.Send("GET / HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n");
  const RawResponse response = client.Receive();
  ASSERT_EQ(response.code, 200);
  EXPECT_EQ(Gunzip(response.body, 2'000'000)->size(), size_t{1'000'000});
}

TEST(HttpServerTest, PackedAnswerAfterStopIsHarmless) {
  auto pool = std::make_unique<ThreadPool>(ThreadPool::Options{.threads = 1});
  Holder holder;
  HttpServer::Options options;
  options.executor = pool.get();
  auto server = Serve(holder.handler(), options);
  RawHttp client(server->address());
  client.Send("GET / HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n");
  HttpServer::Respond respond = holder.Take();
  server->Stop(absl::ZeroDuration());
  server.reset();
  pool.reset();
  respond(Text(std::string(1 << 20, 'x')));
  EXPECT_TRUE(client.Closed());
}

TEST(HttpServerTest, WhoSendsIsAskedOnceAndBeforeTheBody) {
  const auto ann = std::make_shared<const Tenant>(Tenant{.name = "ann"});
  std::atomic<int> asked = 0, handled = 0;
  HttpServer::Options options;
  options.admit = [&](absl::string_view path,
                      absl::string_view authorization) -> absl::StatusOr<std::shared_ptr<const Tenant>> {
    ++asked;
    if (path == "/open") return nullptr;
    if (authorization != "Bearer a") return absl::UnauthenticatedError("no");
    return ann;
  };
  const auto server = Serve(
      [&](const HttpRequest& request, HttpServer::Respond respond) {
        ++handled;
        respond(Text(request.tenant == nullptr ? "nobody" : request.tenant->name));
      },
      options);
  RawHttp client(server->address());
  EXPECT_EQ(client.Post("/x?q", "body", "Authorization: Bearer a\r\n").body, "ann");
  EXPECT_EQ(client.Get("/open").body, "nobody");
  EXPECT_EQ(asked, 2);
  // Whole requests are refused and the connection goes on.
  EXPECT_EQ(client.Post("/x", "body").code, 401);
  EXPECT_EQ(client.Get("/open?a").body, "nobody");
  EXPECT_EQ(handled, 3);
  // The body is neither asked nor waited for.
  RawHttp waiting(server->address()), sending(server->address());
  waiting.Send("POST /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n");
  EXPECT_EQ(waiting.Receive().code, 401);
  sending.Send("POST /x HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nabc");
  const RawResponse refused = sending.Receive();
  EXPECT_EQ(refused.code, 401);
  EXPECT_THAT(refused.head, HasSubstr("WWW-Authenticate: Bearer"));
  EXPECT_THAT(refused.head, HasSubstr("Connection: close"));
  EXPECT_EQ(handled, 3);
}

TEST(HttpServerTest, OversizedRequestsAreRefused) {
  HttpServer::Options options;
  options.max_body_bytes = 1000;
  options.max_header_bytes = 1024;
  const auto server = Serve(Echo, options);
  RawHttp claimed(server->address());
  claimed.Send("POST / HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n");
  EXPECT_EQ(claimed.Receive().code, 413);
  RawHttp chunked(server->address());
  chunked.Send(absl::StrCat("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n", std::string(2000, 'x'),
                            "\r\n0\r\n\r\n"));
  EXPECT_EQ(chunked.Receive().code, 413);
  RawHttp header(server->address());
  header.Send(absl::StrCat("GET / HTTP/1.1\r\nX: ", std::string(2000, 'x'), "\r\n\r\n"));
  EXPECT_EQ(header.Receive().code, 431);
  RawHttp fits(server->address());
  EXPECT_EQ(fits.Post("/", std::string(1000, 'x')).code, 200);
}

TEST(HttpServerTest, BodiesOfAllConnectionsTogetherAreBounded) {
  HttpServer::Options options;
  options.max_total_body_bytes = 1000;
  Holder holder;
  const auto server = Serve(holder.handler(), options);
  RawHttp first(server->address()), second(server->address());
  first.Send(absl::StrCat("POST / HTTP/1.1\r\nContent-Length: 600\r\n\r\n", std::string(600, 'x')));
  HttpServer::Respond respond = holder.Take();
  EXPECT_EQ(second.Post("/", std::string(600, 'x')).code, 503);
  respond(Text("first"));
  EXPECT_EQ(first.Receive().body, "first");
  first.Send(absl::StrCat("POST / HTTP/1.1\r\nContent-Length: 600\r\n\r\n", std::string(600, 'x')));
  holder.Take()(Text("again"));
  EXPECT_EQ(first.Receive().body, "again");
}

TEST(HttpServerTest, ClientThatGoesIsToldOf) {
  for (const bool executed : {false, true}) {
    ThreadPool pool({.threads = 1, .name = "test"});
    std::promise<void> gone;
    const std::future<void> told = gone.get_future();
    HttpServer::Options options;
    if (executed) options.executor = &pool;
    options.inline_body_bytes = 1;
    HttpServer::Respond held;
    const auto server = Serve(
        [&](const HttpRequest& request, HttpServer::Respond respond) {
          held = std::move(respond);
          request.when_gone([&] { gone.set_value(); });
        },
        options);
    {
      RawHttp client(server->address());
      client.Send("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody");
      EXPECT_EQ(told.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
    }
    EXPECT_EQ(told.wait_for(std::chrono::seconds(20)), std::future_status::ready) << executed;
    held(Text("nobody reads this"));
    RawHttp next(server->address());
    EXPECT_TRUE(next.connected());
  }
}

TEST(HttpServerTest, AnsweredClientThatGoesIsNoNews) {
  std::atomic<int> gone = 0;
  const auto server = Serve([&](const HttpRequest& request, HttpServer::Respond respond) {
    request.when_gone([&] { ++gone; });
    respond(Text("done"));
  });
  for (int i = 0; i < 3; ++i) {
    RawHttp client(server->address());
    EXPECT_EQ(client.Get("/").body, "done");
    client.Send("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    EXPECT_EQ(client.Receive().body, "done");
    EXPECT_EQ(client.Receive().body, "done");
  }
  server->Stop(absl::Seconds(5));
  EXPECT_EQ(gone, 0);
}

TEST(HttpServerTest, GarbageIsRefusedAndTheServerGoesOn) {
  const auto server = Serve(Echo);
  for (const char* garbage : {"\x16\x03\x01\x02\x00\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
                              "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "GET / HTTP/1.1\r\n: x\r\n\r\n"}) {
    RawHttp client(server->address());
    client.Send(garbage);
    EXPECT_EQ(client.Receive().code, 400) << garbage;
    EXPECT_TRUE(client.Closed());
  }
  RawHttp cut(server->address());
  cut.Send("POST / HTTP/1.1\r\nContent-Le");
  RawHttp client(server->address());
  EXPECT_EQ(client.Get("/").code, 200);
}

TEST(HttpServerTest, DroppedRespondAnswers500) {
  const auto server = Serve([](const HttpRequest&, HttpServer::Respond) {});
  RawHttp client(server->address());
  EXPECT_EQ(client.Get("/").code, 500);
  EXPECT_EQ(client.Get("/").code, 500);
}

TEST(HttpServerTest, CloseAndHttp10EndTheConnection) {
  const auto server = Serve(Echo);
  RawHttp close(server->address());
  close.Send("GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(close.Receive().head, HasSubstr("Connection: close"));
  EXPECT_TRUE(close.Closed());
  RawHttp old(server->address());
  old.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.Receive().code, 200);
  EXPECT_TRUE(old.Closed());
}

TEST(HttpServerTest, LargeBodiesPassBothWays) {
  const auto server =
      Serve([](const HttpRequest& request, HttpServer::Respond respond) { respond(Text(std::string(request.body))); });
  std::string body(20 << 20, 'x');
  body[12345] = 'y';
  RawHttp client(server->address());
  std::thread sender(
      [&] { client.Send(absl::StrCat("POST / HTTP/1.1\r\nContent-Length: ", body.size(), "\r\n\r\n", body)); });
  const RawResponse response = client.Receive();
  sender.join();
  EXPECT_TRUE(response.body == body);
  EXPECT_EQ(client.Get("/").code, 200);
}

TEST(HttpServerTest, LargeAnswersOfOtherThreadsArriveWhole) {
  Holder holder;
  const auto server = Serve(holder.handler());
  RawHttp client(server->address());
  // More than a socket takes at once: the thread sends the beginning, the I/O thread the rest.
  std::string large(8 << 20, 'x');
  for (size_t i = 0; i < large.size(); i += 4096) large[i] = static_cast<char>('a' + i / 4096 % 26);
  for (int round = 0; round < 3; ++round) {
    client.Send("GET / HTTP/1.1\r\n\r\n");
    std::thread([&] { holder.Take()(Text(large)); }).join();
    EXPECT_TRUE(client.Receive().body == large);
  }
}

TEST(HttpServerTest, AnAnswerToAClientThatHasGoneIsHarmless) {
  Holder holder;
  const auto server = Serve(holder.handler());
  for (int round = 0; round < 20; ++round) {
    {
      RawHttp client(server->address());
      client.Send("GET / HTTP/1.1\r\n\r\n");
      HttpServer::Respond respond = holder.Take();
      if (round % 2 == 0) respond(Text("before"));
      if (round % 2 == 1) std::thread([respond = std::move(respond)]() mutable { respond(Text("late")); }).detach();
    }
  }
  RawHttp client(server->address());
  client.Send("GET / HTTP/1.1\r\n\r\n");
  holder.Take()(Text("still here"));
  EXPECT_EQ(client.Receive().body, "still here");
}

TEST(HttpServerTest, TakenAddressAndNonsenseAddressesAreErrors) {
  const auto server = Serve(Echo);
  HttpServer::Options options;
  options.address = server->address();
  const auto second = HttpServer::Start(options, Echo);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(server->address()));
  for (const char* address : {"127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ""}) {
    options.address = address;
    EXPECT_EQ(HttpServer::Start(options, Echo).status().code(), absl::StatusCode::kInvalidArgument) << address;
  }
}

TEST(HttpServerTest, ConnectionsBeyondTheLimitAreClosed) {
  HttpServer::Options options;
  options.max_connections = 2;
  const auto server = Serve(Echo, options);
  RawHttp first(server->address()), second(server->address());
  EXPECT_EQ(first.Get("/").code, 200);
  EXPECT_EQ(second.Get("/").code, 200);
  RawHttp third(server->address());
  EXPECT_TRUE(third.Closed());
  EXPECT_EQ(first.Get("/").code, 200);
}

TEST(HttpServerTest, SilentConnectionsAreClosed) {
  HttpServer::Options options;
  options.idle_timeout = absl::Seconds(1);
  Holder holder;
  const auto server = Serve(holder.handler(), options);
  RawHttp idle(server->address()), partial(server->address()), waiting(server->address());
  partial.Send("GET / HTT");
  waiting.Send("GET / HTTP/1.1\r\n\r\n");
  HttpServer::Respond respond = holder.Take();
  EXPECT_TRUE(idle.Closed());
  EXPECT_TRUE(partial.Closed());
  // One that waits for the handler is not silent.
  respond(Text("late"));
  EXPECT_EQ(waiting.Receive().body, "late");
}

TEST(HttpServerTest, StopLetsRequestsInHandFinish) {
  Holder holder;
  auto server = Serve(holder.handler());
  RawHttp client(server->address()), idle(server->address());
  client.Send("GET / HTTP/1.1\r\n\r\n");
  HttpServer::Respond respond = holder.Take();
  std::thread stop([&] { server->Stop(absl::Seconds(30)); });
  EXPECT_TRUE(idle.Closed());  // Stop() has begun.
  EXPECT_FALSE(RawHttp(server->address()).connected() && RawHttp(server->address()).Get("/").code == 200);
  respond(Text("done"));
  const RawResponse response = client.Receive();
  EXPECT_EQ(response.body, "done");
  EXPECT_THAT(response.head, HasSubstr("Connection: close"));
  stop.join();
}

TEST(HttpServerTest, RespondAfterStopIsHarmless) {
  Holder holder;
  auto server = Serve(holder.handler());
  RawHttp client(server->address());
  client.Send("GET / HTTP/1.1\r\n\r\n");
  HttpServer::Respond respond = holder.Take();
  server->Stop(absl::ZeroDuration());
  server.reset();
  respond(Text("too late"));
  EXPECT_TRUE(client.Closed());
}

TEST(HttpCodeTest, StatusCodesFollowTheContract) {
  EXPECT_EQ(HttpCode(absl::OkStatus()), 200);
  EXPECT_EQ(HttpCode(absl::InvalidArgumentError("")), 400);
  EXPECT_EQ(HttpCode(absl::FailedPreconditionError("")), 400);
  EXPECT_EQ(HttpCode(absl::OutOfRangeError("")), 400);
  EXPECT_EQ(HttpCode(absl::UnauthenticatedError("")), 401);
  EXPECT_EQ(HttpCode(absl::PermissionDeniedError("")), 403);
  EXPECT_EQ(HttpCode(absl::NotFoundError("")), 404);
  EXPECT_EQ(HttpCode(absl::AbortedError("")), 409);
  EXPECT_EQ(HttpCode(absl::AlreadyExistsError("")), 409);
  EXPECT_EQ(HttpCode(absl::ResourceExhaustedError("")), 429);
  EXPECT_EQ(HttpCode(absl::CancelledError("")), 499);
  EXPECT_EQ(HttpCode(absl::UnimplementedError("")), 501);
  EXPECT_EQ(HttpCode(absl::UnavailableError("")), 503);
  EXPECT_EQ(HttpCode(absl::DeadlineExceededError("")), 504);
  EXPECT_EQ(HttpCode(absl::InternalError("")), 500);
}

}  // namespace
}  // namespace portico
