#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "gtest/gtest.h"
#include "node/frontend/http_server.h"
#include "tests/node/frontend/http_serving.h"
#include "tests/node/frontend/raw_http.h"

namespace portico {
namespace {

TEST(HttpThreadsTest, ConnectionsAreSpreadOverThreadsAndStayThere) {
  Mutex mutex;
  std::map<std::string, std::set<std::thread::id>> threads_of;
  std::set<std::thread::id> threads;
  const auto server = Serve(
      [&](const HttpRequest& request, HttpServer::Respond respond) {
        {
          MutexLock lock(&mutex);
          threads_of[std::string(request.path)].insert(std::this_thread::get_id());
          threads.insert(std::this_thread::get_id());
        }
        respond(Text(std::string(request.path)));
      },
      {.threads = 3});
  std::vector<std::thread> clients;
  for (int i = 0; i < 6; ++i) {
    clients.emplace_back([&, path = absl::StrCat("/", i)] {
      RawHttp client(server->address());
      for (int call = 0; call < 200; ++call) ASSERT_EQ(client.Get(path).body, path);
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(threads.size(), 3u);
  for (const auto& [path, ids] : threads_of) EXPECT_EQ(ids.size(), 1u) << path;
}

TEST(HttpThreadsTest, ThreadsShareTheLimits) {
  Holder holder;
  const auto server = Serve(holder.handler(), {.threads = 3, .max_total_body_bytes = 1000, .max_connections = 4});
  RawHttp first(server->address()), second(server->address()), third(server->address());
  first.Send(absl::StrCat("POST / HTTP/1.1\r\nContent-Length: 600\r\n\r\n", std::string(600, 'x')));
  HttpServer::Respond respond = holder.Take();
  EXPECT_EQ(second.Post("/", std::string(600, 'x')).code, 503);
  EXPECT_EQ(third.Post("/", std::string(600, 'x')).code, 503);
  respond(Text("first"));
  EXPECT_EQ(first.Receive().body, "first");

  const RawHttp fourth(server->address());
  RawHttp fifth(server->address());
  EXPECT_TRUE(fifth.Closed());
}

TEST(HttpThreadsTest, StopWaitsForTheRequestsOfAllThreads) {
  Holder holder;
  const auto server = Serve(holder.handler(), {.threads = 3});
  std::vector<std::unique_ptr<RawHttp>> clients;
  std::vector<HttpServer::Respond> responds;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<RawHttp>(server->address()));
    clients.back()->Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    responds.push_back(holder.Take());
  }
  std::thread stopper([&] { server->Stop(absl::Seconds(20)); });
  for (HttpServer::Respond& respond : responds) respond(Text("done"));
  stopper.join();
  for (const auto& client : clients) EXPECT_EQ(client->Receive().body, "done");
}

}  // namespace
}  // namespace portico
