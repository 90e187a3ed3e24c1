#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"

namespace portico {

/// The descriptor of one connection and what reads and writes it: plain here, TLS in stream_tls.h. Nothing blocks.
class StreamSocket {
 public:
  /// Takes ownership of `fd`.
  explicit StreamSocket(int fd) : fd_(fd) {}
  virtual ~StreamSocket();
  StreamSocket(const StreamSocket&) = delete;
  StreamSocket& operator=(const StreamSocket&) = delete;

  int fd() const { return fd_; }

  /// Goes on with connecting and with the handshake. False: call again when an event of `wants` has come.
  virtual absl::StatusOr<bool> Open(uint32_t* wants);
  /// As readv() and writev(): −1 and errno.
  virtual ssize_t Read(const iovec* to, int count);
  virtual ssize_t Write(const iovec* from, int count);
  /// Nothing will be written any more.
  virtual void Finish();
  /// Reading and writing share state: only the loop's thread may do either, and reads until EAGAIN.
  virtual bool one_thread() const { return false; }

 protected:
  const int fd_;
};

}  // namespace portico
