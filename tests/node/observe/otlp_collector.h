#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "gtest/gtest.h"
#include "node/frontend/http_server.h"
#include "simdjson.h"

namespace portico {

/// An OpenTelemetry collector: takes POST /v1/traces on a real socket and reads what comes. Thread-safe.
class OtlpCollector {
 public:
  struct Received {
    std::string name;
    std::string node;
    std::string trace_id;
    std::string span_id;
    std::string parent_span_id;
    std::string state;
    int64_t start_ns = 0;
    int64_t end_ns = 0;
  };

  explicit OtlpCollector(const std::string& address = "127.0.0.1:0") {
    HttpServer::Options options;
    options.address = address;
    auto server = HttpServer::Start(options, [this](const HttpRequest& request, HttpServer::Respond respond) {
      OnRequest(request, std::move(respond));
    });
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  ~OtlpCollector() { server_->Stop(absl::ZeroDuration()); }

  const std::string& address() const { return server_->address(); }
  std::string endpoint() const { return absl::StrCat("http://", address()); }
  /// What requests from now on are answered with. 0: nothing.
  void AnswerWith(int code) {
    MutexLock lock(&mutex_);
    code_ = code;
  }
  int requests() const {
    MutexLock lock(&mutex_);
    return requests_;
  }
  /// Waits until so many requests have come, at most half a minute.
  void AwaitRequests(int count) {
    MutexLock lock(&mutex_);
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (requests_ < count && absl::Now() < until) arrived_.WaitFor(&mutex_, absl::Milliseconds(100));
    EXPECT_GE(requests_, count);
  }
  /// Waits until so many spans have come; then all that have.
  std::vector<Received> Await(size_t count) {
    MutexLock lock(&mutex_);
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (spans_.size() < count && absl::Now() < until) arrived_.WaitFor(&mutex_, absl::Milliseconds(100));
    EXPECT_GE(spans_.size(), count);
    return spans_;
  }

 private:
  void OnRequest(const HttpRequest& request, HttpServer::Respond respond) {
    std::vector<Received> spans;
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.path, "/v1/traces");
    EXPECT_EQ(request.header("content-type"), "application/json");
    Read(request.body, &spans);
    MutexLock lock(&mutex_);
    ++requests_;
    arrived_.NotifyAll();
    if (code_ == 0) return held_.push_back(std::move(respond));
    HttpReply reply;
    reply.code = code_;
    reply.body = "{}";
    if (code_ == 200) spans_.insert(spans_.end(), spans.begin(), spans.end());
    respond(std::move(reply));
  }

  static void Read(absl::string_view body, std::vector<Received>* spans) {
    try {
      simdjson::dom::parser parser;
      const simdjson::dom::element root = parser.parse(body.data(), body.size());
      for (const simdjson::dom::element resource : root["resourceSpans"].get_array()) {
        std::string node;
        for (const simdjson::dom::element attribute : resource["resource"]["attributes"].get_array()) {
          if (Text(attribute["key"]) == "service.instance.id") node = Text(attribute["value"]["stringValue"]);
        }
        for (const simdjson::dom::element scope : resource["scopeSpans"].get_array()) {
          for (const simdjson::dom::element span : scope["spans"].get_array()) {
            Received& received = spans->emplace_back();
            received.node = node;
            received.name = Text(span["name"]);
            received.trace_id = Text(span["traceId"]);
            received.span_id = Text(span["spanId"]);
            received.start_ns = std::stoll(Text(span["startTimeUnixNano"]));
            received.end_ns = std::stoll(Text(span["endTimeUnixNano"]));
            simdjson::dom::element optional;
            if (span["parentSpanId"].get(optional) == simdjson::SUCCESS) received.parent_span_id = Text(optional);
            if (span["traceState"].get(optional) == simdjson::SUCCESS) received.state = Text(optional);
          }
        }
      }
    } catch (const simdjson::simdjson_error& error) {
      ADD_FAILURE() << error.what() << " in " << body;
    }
  }
  static std::string Text(simdjson::dom::element element) {
    return std::string(std::string_view(element.get_string()));
  }

  mutable Mutex mutex_;
  CondVar arrived_;
  std::vector<Received> spans_ ABSL_GUARDED_BY(mutex_);
  std::vector<HttpServer::Respond> held_ ABSL_GUARDED_BY(mutex_);
  int requests_ ABSL_GUARDED_BY(mutex_) = 0;
  int code_ ABSL_GUARDED_BY(mutex_) = 200;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace portico
