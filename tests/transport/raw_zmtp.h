#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "base/check.h"

namespace portico {

/// A TCP connection on which a test speaks ZMTP 3.0 (rfc.zeromq.org/spec/23) by hand, well or badly. Waits at most 20 s
/// for anything.
class RawZmtp {
 public:
  /// `endpoint`: zmq+tcp://127.0.0.1:PORT.
  explicit RawZmtp(absl::string_view endpoint) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    int port = 0;
    PORTICO_CHECK(absl::SimpleAtoi(endpoint.substr(endpoint.rfind(':') + 1), &port));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    PORTICO_CHECK(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~RawZmtp() { close(fd_); }

  /// False once the other side has closed.
  bool Write(absl::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  /// The greeting and READY of a DEALER without security, and the other side's, before which traffic would be a
  /// mistake.
  bool Handshake() {
    std::string greeting(64, '\0');
    greeting[0] = '\xff';
    greeting[9] = '\x7f';
    greeting[10] = 3;
    std::memcpy(greeting.data() + 12, "NULL", 4);
    std::string ready(
        "\x05READY\x0bSocket-Type\0\0\0\x06"
        "DEALER\x08Identity\0\0\0\0",
        41);
    if (!Write(greeting) || !Write(std::string("\x04", 1) + static_cast<char>(ready.size()) + ready)) return false;
    std::string answer(greeting.size() + 2, '\0');
    return Read(&answer) && Read(answer.back());
  }

  /// Fills `bytes`. False when the other side closes before.
  bool Read(std::string* bytes) {
    for (size_t at = 0; at < bytes->size();) {
      const ssize_t got = recv(fd_, bytes->data() + at, bytes->size() - at, 0);
      if (got <= 0) return false;
      at += static_cast<size_t>(got);
    }
    return true;
  }
  bool Read(char size) {
    std::string skipped(static_cast<uint8_t>(size), '\0');
    return Read(&skipped);
  }

  static std::string FrameHeader(uint64_t size, bool more) {
    std::string header(1, static_cast<char>(2 | (more ? 1 : 0)));
    for (int shift = 56; shift >= 0; shift -= 8) header += static_cast<char>(size >> shift & 0xff);
    return header;
  }
  static std::string Frame(absl::string_view body, bool more) {
    return FrameHeader(body.size(), more) + std::string(body);
  }

  /// Reads to the end: the number of bytes, or −1 when the other side did not close in time.
  int64_t ReadToEnd() {
    std::string buffer(1 << 16, '\0');
    int64_t total = 0;
    for (;;) {
      const ssize_t got = recv(fd_, buffer.data(), buffer.size(), 0);
      if (got == 0 || (got < 0 && errno == ECONNRESET)) return total;
      if (got < 0) return -1;
      total += got;
    }
  }

 private:
  const int fd_;
};

}  // namespace portico
