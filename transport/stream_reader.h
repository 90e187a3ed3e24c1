#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "transport/peer_header.h"
#include "transport/stream_buffers.h"
#include "transport/stream_frame.h"
#include "transport/stream_lender.h"
#include "transport/transport.h"

namespace portico {

/// Makes messages of the bytes of one connection, in whatever portions they come. Small tensors are views of the buffer
/// that was read into; a large one is read straight into memory of its own. Every count and length is checked before
/// memory is taken for it, and what is taken is at most one message beyond what has been received.
///
///   iovec space[2];
///   const int pieces = reader.Space(space);
///   reader.Commit(readv(fd, space, pieces));
///   while (*(whole = reader.Next(&message))) …
///   reader.Rest();
///
/// Knows no socket. Not thread-safe; `buffers` is not owned and must outlive it.
class StreamReader {
 public:
  StreamReader(const PeerLimits& limits, StreamBuffers& buffers) : limits_(limits), buffers_(buffers) {}

  /// For a new connection. Until Greeted(), a message may not bring tensors. `lender`: where large tensors may lie
  /// instead of in the stream; then a StreamLoan stands before each. Not owned.
  void Reset(StreamLender* lender = nullptr);
  void Greeted() { greeted_ = true; }

  /// Where the next bytes go: one or two pieces, none of them empty.
  int Space(iovec space[2]);
  /// `bytes` were read there.
  void Commit(size_t bytes);
  /// The next message. False: more bytes are needed. INVALID_ARGUMENT: the peer does not keep to the format, and
  /// nothing behind this point can be read.
  absl::StatusOr<bool> Next(PeerMessage* message);
  /// Nothing more will be read for now: gives back memory that is not needed.
  void Rest();

  /// Part of a message has come.
  bool unfinished() const { return in_body_ || end_ > begin_; }
  uint64_t bytes() const { return bytes_; }
  uint64_t messages() const { return messages_; }

 private:
  absl::Status ReadPrefix();
  absl::Status ReadHead();
  /// Fills the large tensors from what has come. False: there is more to come.
  absl::StatusOr<bool> ReadBody();
  void MakeRoom(size_t bytes);
  size_t buffered() const { return end_ - begin_; }

  const PeerLimits limits_;
  StreamBuffers& buffers_;
  bool greeted_ = false;
  uint64_t bytes_ = 0;
  uint64_t messages_ = 0;

  /// Bytes [begin_, end_) of it are still to be looked at.
  Ref<StreamChunk> chunk_;
  size_t begin_ = 0;
  size_t end_ = 0;
  /// The message's bytes up to its large tensors; 0 until its prefix is whole.
  size_t head_bytes_ = 0;
  StreamPrefix prefix_;
  /// Of the last message, where it had large tensors: then only so much is read ahead, so that the next one's land
  /// where they belong without a copy.
  size_t read_ahead_ = 0;

  StreamLender* lender_ = nullptr;
  bool in_body_ = false;
  PeerMessage message_;
  /// The tensor that is being filled, and how far; none while its loan is awaited.
  size_t filling_ = 0;
  Tensor body_;
  size_t filled_ = 0;
  size_t body_bytes_ = 0;
};

}  // namespace portico
