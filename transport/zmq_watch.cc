#include "transport/zmq_watch.h"

// Not <netinet/tcp.h>: its tcp_info ends before tcpi_bytes_received.
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <utility>

namespace portico {
namespace {

uint64_t CookieOf(int fd) {
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

}  // namespace

ConnectionWatch::ConnectionWatch(int fd) : fd_(fd), cookie_(CookieOf(fd)) {}

bool ConnectionWatch::Same() const { return cookie_ != 0 && CookieOf(fd_) == cookie_; }

uint64_t ConnectionWatch::Received() const {
  tcp_info info{};
  socklen_t size = sizeof(info);
  return getsockopt(fd_, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_bytes_received : 0;
}

bool ConnectionWatch::Exceeds(uint64_t limit) {
  const uint64_t received = Received();
  if (whole_message_) {
    whole_message_ = false;
    received_before_ = received;
  }
  return received > received_before_ && received - received_before_ > limit && Same();
}

bool ConnectionWatch::Heard() {
  const uint64_t received = Received();
  return std::exchange(heard_bytes_, received) != received || received == 0;
}

void ConnectionWatch::Cut() const {
  if (!Same()) return;
  // Dissolving the association resets the connection and empties its queues. After shutdown() alone, Linux goes on
  // taking what a flood brings; it has to do for Unix sockets.
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  if (connect(fd_, &none, sizeof(none)) != 0) shutdown(fd_, SHUT_RDWR);
}

}  // namespace portico
