#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"

namespace portico {

class StreamLender;
class StreamQueue;

/// The descriptor of one connection and what reads and writes it: plain here, TLS in stream_tls.h, shared memory in
/// shm_socket.h. Nothing blocks.
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
  /// No limit on what Send() writes.
  static constexpr size_t kAll = SIZE_MAX;
  /// Writes from the front of `queue`, which is not empty, and consumes that: `at_most` so many bytes where the limit
  /// is of use. How much of it, or −1 and errno.
  virtual ssize_t Send(StreamQueue& queue, size_t at_most);
  /// Nothing will be written any more.
  virtual void Finish();
  /// Reading and writing share state: only the loop's thread may do either, and reads until EAGAIN.
  virtual bool one_thread() const { return false; }

  /// Bytes come, and room to write comes again, without an event, unless Rest() has asked for one. An event of a quiet
  /// socket only says that it is time to look.
  virtual bool quiet() const { return false; }
  // Only of quiet sockets; on the loop's thread.
  /// Looks at an event.
  virtual void TakeEvents() {}
  /// Whether there is something to read, or room to write where Send() found none.
  virtual bool Stirs() const { return false; }
  virtual bool RoomAgain() const { return false; }
  /// Send() will be called again. Under the lock that Send() is called under.
  virtual void GoOn() {}
  /// Asks the peer for an event when something comes. False: something has come by now.
  virtual bool Rest() { return true; }
  /// Where large tensors come from that are not in the stream; null where all are in it.
  virtual StreamLender* lender() { return nullptr; }

 protected:
  const int fd_;
};

}  // namespace portico
