#include "transport/stream_socket.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "transport/stream_frame.h"

namespace portico {
namespace {

constexpr int kMaxPieces = 64;

/// The first of `pieces` that hold `bytes` bytes, which they do. Returns their number.
int Shorten(iovec* pieces, int count, size_t bytes) {
  for (int i = 0; i < count; ++i) {
    if (pieces[i].iov_len >= bytes) {
      pieces[i].iov_len = bytes;
      return i + 1;
    }
    bytes -= pieces[i].iov_len;
  }
  return count;
}

}  // namespace

StreamSocket::~StreamSocket() { close(fd_); }

absl::StatusOr<bool> StreamSocket::Open(uint32_t* wants) {
  *wants = EPOLLOUT;
  pollfd state{.fd = fd_, .events = POLLOUT, .revents = 0};
  if (poll(&state, 1, 0) <= 0) return false;
  int error = 0;
  socklen_t size = sizeof(error);
  if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return absl::UnavailableError(absl::StrCat("connect: ", std::strerror(error)));
  return true;
}

ssize_t StreamSocket::Read(const iovec* to, int count) { return readv(fd_, to, count); }

ssize_t StreamSocket::Write(const iovec* from, int count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(from);
  message.msg_iovlen = static_cast<size_t>(count);
  return sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t StreamSocket::Send(StreamQueue& queue, size_t at_most) {
  iovec pieces[kMaxPieces];
  int count = queue.Pieces(pieces, kMaxPieces);
  if (at_most < queue.bytes()) count = Shorten(pieces, count, at_most);
  const ssize_t written = Write(pieces, count);
  if (written > 0) queue.Consume(static_cast<size_t>(written));
  return written;
}

void StreamSocket::Finish() { shutdown(fd_, SHUT_WR); }

}  // namespace portico
