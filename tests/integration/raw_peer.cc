#include "tests/integration/raw_peer.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <zmq.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/check.h"

namespace portico {
namespace {

/// A blocking TCP connection.
class TcpConnection {
 public:
  TcpConnection(const std::string& endpoint, int timeout_s) : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const std::vector<std::string> host_port = absl::StrSplit(absl::StripPrefix(endpoint, "zmq+tcp://"), ':');
    sockaddr_in to{};
    int port = 0;
    to.sin_family = AF_INET;
    PORTICO_CHECK(host_port.size() == 2 && absl::SimpleAtoi(host_port[1], &port));
    to.sin_port = htons(static_cast<uint16_t>(port));
    PORTICO_CHECK(inet_pton(AF_INET, host_port[0].c_str(), &to.sin_addr) == 1);
    const timeval timeout{.tv_sec = timeout_s, .tv_usec = 0};
    PORTICO_CHECK(setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) == 0);
    PORTICO_CHECK(connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0);
  }
  ~TcpConnection() { close(socket_); }
  TcpConnection(const TcpConnection&) = delete;
  TcpConnection& operator=(const TcpConnection&) = delete;

  void Send(const std::string& bytes) { send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  void EndSending() { shutdown(socket_, SHUT_WR); }
  /// False when the other side closed, or at the timeout.
  bool Receive(size_t bytes) {
    std::string buffer(bytes, '\0');
    return recv(socket_, buffer.data(), bytes, MSG_WAITALL) == static_cast<ssize_t>(bytes);
  }
  /// Reads until the other side closes: true; at the timeout false.
  bool AwaitClose() {
    char buffer[4096];
    ssize_t n = 0;
    while ((n = recv(socket_, buffer, sizeof(buffer), 0)) > 0) {
    }
    return n == 0 || errno == ECONNRESET;
  }

 private:
  const int socket_;
};

}  // namespace

void SendBytes(const std::string& endpoint, const std::string& bytes) {
  TcpConnection connection(endpoint, 2);
  connection.Send(bytes);
  connection.EndSending();
  connection.AwaitClose();
}

void SendMessage(const std::string& endpoint, const std::vector<std::string>& frames) {
  zmq::context_t context(1);
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.connect(std::string(absl::StripPrefix(endpoint, "zmq+")));
  for (size_t i = 0; i < frames.size(); ++i) {
    const bool more = i + 1 < frames.size();
    dealer.send(zmq::buffer(frames[i]), more ? zmq::send_flags::sndmore : zmq::send_flags::none);
  }
  // Closing waits this long until all is sent.
  dealer.set(zmq::sockopt::linger, 2000);
}

bool ClaimFrame(const std::string& endpoint, uint64_t bytes) {
  TcpConnection connection(endpoint, 5);
  std::string greeting("\xFF\0\0\0\0\0\0\0\0\x7F\x03\0NULL", 16);
  greeting.resize(64, '\0');
  connection.Send(greeting);
  const std::string ready(
      "\x05READY\x0BSocket-Type\0\0\0\x06"
      "DEALER",
      28);
  connection.Send(absl::StrCat("\x04", std::string(1, static_cast<char>(ready.size())), ready));
  if (!connection.Receive(64)) return false;
  std::string frame(1, '\x02');
  for (int shift = 56; shift >= 0; shift -= 8) frame.push_back(static_cast<char>(bytes >> shift & 255));
  connection.Send(frame + std::string(1024, 'x'));
  return connection.AwaitClose();
}

}  // namespace portico
