#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "transport/stream_frame.h"
#include "transport/stream_loop.h"
#include "transport/stream_parts.h"
#include "transport/stream_reader.h"
#include "transport/stream_socket.h"

namespace portico {

/// One end of a connection: a socket, the messages that wait for it, and the reader of what it brings. A channel's pipe
/// gets one socket after the other; a listener has a pipe for each caller.
///
/// Any thread appends. Who writes is whoever holds `write_mutex_`: the loop before it sleeps; while it sleeps, the
/// thread that appended. Reading, and all that is protected, is the loop's.
class StreamPipe : public StreamLoop::Source {
 public:
  StreamPipe(StreamLoop& loop, const PeerLimits& limits);

  /// Queues a message; Kick() sends it. Returns its number, which only grows.
  uint64_t Append(absl::string_view header, absl::Span<const Tensor> tensors);
  /// Whether the message of that number has been handed to the socket, or begun to be.
  bool Taken(uint64_t number);
  /// Appended and not yet written.
  uint64_t queued_bytes() const { return queued_bytes_.load(std::memory_order_relaxed); }
  /// Sees to it that what was appended is written. Holding no lock that a callback takes.
  void Kick();

  void OnReady(uint32_t events) final;
  void OnDirty() final;
  bool Stirs() final { return open_ && socket_->Stirs(); }
  void OnStir() final;
  bool Rest() final { return !open_ || socket_->Rest(); }

 protected:
  /// REQUIRES: detached.
  void Attach(std::unique_ptr<StreamSocket> socket);
  /// Closes the socket and forgets what was appended. Harmless where there is none.
  void Detach();
  /// Closes the socket; what was appended waits for the next one. REQUIRES: LetFlow() was not called.
  void DetachUnsent();
  /// Forgets what was appended and has not been taken.
  void DropUnsent();
  bool attached() const { return socket_ != nullptr; }
  /// The socket has reached the peer's host, whether or not the two have greeted each other.
  bool Linked() const;
  /// Writes `header` before everything that waits. REQUIRES: OnOpen() was called and LetFlow() was not.
  void SendFirst(absl::string_view header);
  /// From now on, what is appended is written.
  void LetFlow();
  void Greeted() { reader_.Greeted(); }
  /// Ends the sending side once everything is written; what still comes is read and dropped.
  void Finish();
  /// Who waits for whom at the moment.
  struct Vigil {
    /// The peer waits for answers, and wants a sign of life at every tick.
    bool owes = false;
    /// This side waits for answers, and so many ticks for a sign of life; 0: it waits for none.
    int patience = 0;
  };
  /// Sends a sign of life if one is due and nothing else was sent, and calls OnBroken() if the peer gave none for a
  /// while or takes very long for one message. To be called at every tick.
  void Tick(absl::Time now, const StreamParts& parts, Vigil vigil);

  /// On the loop's thread. The socket can be written to.
  virtual void OnOpen() = 0;
  virtual void OnMessage(PeerMessage message) = 0;
  /// Detach() is due. INVALID_ARGUMENT: the peer does not keep to the format.
  virtual void OnBroken(const absl::Status& why) = 0;

  StreamLoop& loop_;

 private:
  void GoOnOpening();
  void ReadSome();
  void ReadRounds();
  void WriteAgain();
  /// Hands the reader's messages on. False: no more is to be read.
  bool Deliver();
  void Flush();
  void SendQueued() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);
  void WatchFor(uint32_t events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);

  Mutex mutex_;
  StreamQueue outbox_ ABSL_GUARDED_BY(mutex_);
  uint64_t appended_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<uint64_t> queued_bytes_{0};
  std::atomic<bool> pending_{false};
  std::atomic<bool> one_thread_{false};

  Mutex write_mutex_;
  /// Null while nothing can be written.
  StreamSocket* out_ ABSL_GUARDED_BY(write_mutex_) = nullptr;
  StreamQueue sending_ ABSL_GUARDED_BY(write_mutex_);
  bool flowing_ ABSL_GUARDED_BY(write_mutex_) = false;
  bool blocked_ ABSL_GUARDED_BY(write_mutex_) = false;
  bool finishing_ ABSL_GUARDED_BY(write_mutex_) = false;
  bool sent_ ABSL_GUARDED_BY(write_mutex_) = false;
  /// Ticks since.
  int unsaid_ ABSL_GUARDED_BY(write_mutex_) = 0;
  uint32_t watched_ ABSL_GUARDED_BY(write_mutex_) = 0;

  // Only on the loop's thread.
  std::unique_ptr<StreamSocket> socket_;
  StreamReader reader_;
  bool open_ = false;
  bool dropping_ = false;
  bool reading_ = false;
  bool read_again_ = false;
  uint64_t attachment_ = 0;
  uint32_t handled_ = 0;
  uint64_t heard_bytes_ = 0;
  /// Ticks since the peer said something: all of them, and those in which it was waited for.
  int silence_ = 0;
  int awaited_silence_ = 0;
  /// The unfinished message that is being watched: its number, and when and where the watch began.
  uint64_t slow_message_ = 0;
  uint64_t slow_bytes_ = 0;
  absl::Time slow_since_ = absl::InfiniteFuture();
};

}  // namespace portico
