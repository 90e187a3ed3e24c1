#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace portico {

/// A response as it came over the wire.
struct RawResponse {
  int code = 0;
  std::string head;
  std::string body;
};

/// A TCP connection to 127.0.0.1:PORT that speaks HTTP/1.1 by hand. Reads give up after 30 s.
class RawHttp {
 public:
  /// `address`: "127.0.0.1:PORT".
  explicit RawHttp(const std::string& address) {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    const timeval limit{30, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::atoi(address.substr(address.rfind(':') + 1).c_str())));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0;
  }
  ~RawHttp() { ::close(fd_); }
  RawHttp(const RawHttp&) = delete;
  RawHttp& operator=(const RawHttp&) = delete;

  bool connected() const { return connected_; }

  void Send(const std::string& bytes) {
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t n = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<size_t>(n);
    }
  }

  /// The next response; code 0 where the connection ended first. `head_only`: it answers HEAD.
  RawResponse Receive(bool head_only = false) {
    RawResponse response;
    size_t end = 0;
    while ((end = pending_.find("\r\n\r\n")) == std::string::npos) {
      if (!More()) return response;
    }
    response.head = pending_.substr(0, end + 2);
    pending_.erase(0, end + 4);
    response.code = std::atoi(response.head.substr(9, 3).c_str());
    size_t length = 0;
    if (const size_t at = response.head.find("Content-Length: "); at != std::string::npos && !head_only) {
      length = static_cast<size_t>(std::atoll(response.head.c_str() + at + 16));
    }
    while (pending_.size() < length) {
      if (!More()) return response;
    }
    response.body = pending_.substr(0, length);
    pending_.erase(0, length);
    return response;
  }

  /// Whether the server closes without sending any more.
  bool Closed() { return pending_.empty() && !More(); }

  RawResponse Get(const std::string& path) {
    Send(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: x\r\n\r\n"));
    return Receive();
  }
  RawResponse Post(const std::string& path, const std::string& body, const std::string& headers = "") {
    Send(absl::StrCat("POST ", path, " HTTP/1.1\r\nHost: x\r\n", headers, "Content-Length: ", body.size(), "\r\n\r\n",
                      body));
    return Receive();
  }

 private:
  bool More() {
    char buffer[4096];
    const ssize_t n = ::recv(fd_, buffer, sizeof(buffer), 0);
    if (n <= 0) return false;
    pending_.append(buffer, static_cast<size_t>(n));
    return true;
  }

  int fd_ = -1;
  bool connected_ = false;
  std::string pending_;
};

}  // namespace portico
