#include "tests/integration/chaos_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"

namespace portico {
namespace {

constexpr int kPollMs = 20;

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int PortOf(const std::string& endpoint) {
  int port = 0;
  PORTICO_CHECK(absl::SimpleAtoi(endpoint.substr(endpoint.rfind(':') + 1), &port));
  return port;
}

bool SendAll(int to, const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t sent = send(to, bytes, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

void NoDelay(int socket) {
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

}  // namespace

/// One of the portal's, and the one it goes on as. Closed by its thread.
struct ChaosProxy::Connection {
  int portal = -1;
  std::atomic<bool> cut{false};
  std::thread thread;
};

ChaosProxy::ChaosProxy(const std::string& target) : target_port_(PortOf(target)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  PORTICO_CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0 && listen(listener_, 64) == 0 &&
                getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  endpoint_ = absl::StrCat("tcp://127.0.0.1:", ntohs(address.sin_port));
  acceptor_ = std::thread([this] { Accept(); });
}

ChaosProxy::~ChaosProxy() {
  stopping_ = true;
  acceptor_.join();
  close(listener_);
  std::list<Connection> open;
  {
    MutexLock lock(&mutex_);
    open.swap(open_);
  }
  for (Connection& connection : open) connection.thread.join();
}

void ChaosProxy::Slow(double share, absl::Duration delay) {
  delay_us_ = absl::ToInt64Microseconds(delay);
  slow_per_million_ = static_cast<int64_t>(share * 1e6);
}

void ChaosProxy::Cut() {
  MutexLock lock(&mutex_);
  for (Connection& connection : open_) connection.cut = true;
}

void ChaosProxy::Accept() {
  while (!stopping_) {
    pollfd wanted{listener_, POLLIN, 0};
    if (poll(&wanted, 1, kPollMs) <= 0 || Stalled()) continue;
    const int portal = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (portal < 0) continue;
    ++connections_;
    MutexLock lock(&mutex_);
    Connection& connection = open_.emplace_back();
    connection.portal = portal;
    connection.thread = std::thread([this, &connection] { Serve(connection); });
  }
}

void ChaosProxy::Serve(Connection& connection) {
  const int portal = connection.portal;
  const int replica = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(target_port_);
  bool open = connect(replica, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  NoDelay(portal);
  NoDelay(replica);
  while (open && !stopping_ && !connection.cut) {
    if (Stalled()) {
      absl::SleepFor(absl::Milliseconds(kPollMs));
      continue;
    }
    std::array<pollfd, 2> wanted = {{{portal, POLLIN, 0}, {replica, POLLIN, 0}}};
    if (poll(wanted.data(), wanted.size(), kPollMs) <= 0) continue;
    if (wanted[0].revents != 0) open = Pass(portal, replica, false);
    if (open && wanted[1].revents != 0) open = Pass(replica, portal, true);
  }
  if (connection.cut) {
    // Closed with a reset, as by a machine that has gone.
    const linger now{1, 0};
    setsockopt(portal, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  }
  close(portal);
  close(replica);
}

bool ChaosProxy::Pass(int from, int to, bool from_replica) {
  static thread_local std::minstd_rand random{std::random_device{}()};
  std::array<char, 65536> bytes;
  const ssize_t got = recv(from, bytes.data(), bytes.size(), 0);
  if (got <= 0) return false;
  if (from_replica && garbles_) {
    for (ssize_t i = 0; i < got; ++i) bytes[static_cast<size_t>(i)] = static_cast<char>(random());
  }
  if (from_replica && static_cast<int64_t>(random() % 1'000'000) < slow_per_million_) {
    absl::SleepFor(absl::Microseconds(delay_us_.load()));
  }
  return SendAll(to, bytes.data(), static_cast<size_t>(got));
}

}  // namespace portico
