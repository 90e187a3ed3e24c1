#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "base/mutex.h"
#include "gtest/gtest.h"
#include "node/frontend/http_server.h"

namespace portico {

inline HttpReply Text(std::string body) {
  HttpReply reply;
  reply.body = std::move(body);
  return reply;
}

inline std::unique_ptr<HttpServer> Serve(HttpServer::Handler handler, HttpServer::Options options = {}) {
  auto server = HttpServer::Start(std::move(options), std::move(handler));
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

/// Keeps the requests it gets until told to answer.
class Holder {
 public:
  HttpServer::Handler handler() {
    return [this](const HttpRequest&, HttpServer::Respond respond) {
      MutexLock lock(&mutex_);
      held_.push_back(std::move(respond));
      arrived_.NotifyAll();
    };
  }
  /// Waits for a request and hands its Respond out; a test that gets none within a minute has failed, and goes on with
  /// one that answers nobody.
  HttpServer::Respond Take() {
    const absl::Time until = absl::Now() + absl::Minutes(1);
    MutexLock lock(&mutex_);
    while (held_.empty()) {
      if (absl::Now() >= until) {
        ADD_FAILURE() << "no request came";
        return [](const HttpReply&) {};
      }
      arrived_.WaitFor(&mutex_, until - absl::Now());
    }
    HttpServer::Respond respond = std::move(held_.back());
    held_.pop_back();
    return respond;
  }

 private:
  Mutex mutex_;
  CondVar arrived_;
  std::vector<HttpServer::Respond> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
