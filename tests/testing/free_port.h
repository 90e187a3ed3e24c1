#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"

namespace portico {

/// A free port of 127.0.0.1 for those that can't be told to choose; nobody listens there of itself. While it lives, the
/// system gives that port to nobody who asks for any; who asks for this one gets it, and again after its end, if it
/// sets SO_REUSEADDR, as servers do.
class HeldPort {
 public:
  HeldPort() {
    const int yes = 1;
    PORTICO_CHECK(setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    PORTICO_CHECK(bind(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    PORTICO_CHECK(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    number_ = ntohs(address.sin_port);
  }
  ~HeldPort() { close(fd_); }
  HeldPort(const HeldPort&) = delete;
  HeldPort& operator=(const HeldPort&) = delete;

  int number() const { return number_; }

 private:
  const int fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int number_ = 0;
};

/// One of 127.0.0.1 that was free a moment ago, and may be another's by now.
inline int FreePort() { return HeldPort().number(); }

}  // namespace portico
