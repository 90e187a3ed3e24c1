#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace portico {

/// A small HTTP/1.1 server of static files on a port of its own, that fails as tests ask it to. One request a
/// connection.
class FileServer {
 public:
  struct Request {
    /// Path and query.
    std::string target;
    /// Names in lower case.
    std::map<std::string, std::string> headers;
  };
  struct Reply {
    int code = 200;
    std::string body;
    std::map<std::string, std::string> headers;
  };

  /// A function that the server's thread calls, and tests exchange.
  class Handler {
   public:
    using Function = std::function<Reply(const Request&)>;
    Handler& operator=(Function function) {
      MutexLock lock(&mutex_);
      function_ = std::move(function);
      return *this;
    }
    Function Get() const {
      MutexLock lock(&mutex_);
      return function_;
    }

   private:
    mutable Mutex mutex_;
    Function function_ ABSL_GUARDED_BY(mutex_);
  };

  explicit FileServer(std::string root);
  ~FileServer();
  FileServer(const FileServer&) = delete;
  FileServer& operator=(const FileServer&) = delete;

  /// "http://127.0.0.1:PORT".
  const std::string& url() const { return url_; }
  /// What was asked so far, in order.
  std::vector<Request> requests() const;

  /// False: a server that knows no Range.
  std::atomic<bool> ranges{true};
  /// The next so many bodies of more than 16 KiB break off half-way.
  std::atomic<int> breaks{0};
  /// The next so many requests get 503.
  std::atomic<int> failures{0};
  /// Bytes of bodies that were sent.
  std::atomic<uint64_t> sent{0};
  /// Answers instead of the files, from the next request on.
  Handler handler;

 private:
  void Run();
  void Serve(int fd);
  Reply Answer(const Request& request) const;

  const std::string root_;
  int listener_ = -1;
  std::string url_;
  mutable Mutex mutex_;
  std::vector<Request> requests_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace portico
