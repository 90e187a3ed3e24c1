#include "transport/stream_pipe.h"

#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

constexpr int kReadsAtOnce = 16;
// Of more than this, a little goes ahead, so that the peer is awake and reads while the rest is copied: where it is
// woken in the middle, one MiB between two processes takes up to twice as long (docs/decisions/0009).
constexpr uint64_t kMuch = 768 << 10;
constexpr size_t kAhead = 32 << 10;
// Fewer: more calls of the kernel; more: the two sides take turns instead of working at the same time.
constexpr uint32_t kHandledPerFlush = 16;
// So many at once are of more than one call at a time.
constexpr uint64_t kMessagesToLinger = 4;

}  // namespace

StreamPipe::StreamPipe(StreamLoop& loop, const PeerLimits& limits) : loop_(loop), reader_(limits, loop.buffers()) {}

// --- Any thread ---

uint64_t StreamPipe::Append(absl::string_view header, absl::Span<const Tensor> tensors) {
  MutexLock lock(&mutex_);
  const uint64_t before = outbox_.bytes();
  outbox_.Append(header, tensors);
  queued_bytes_.fetch_add(outbox_.bytes() - before, std::memory_order_relaxed);
  return appended_++;
}

bool StreamPipe::Taken(uint64_t number) {
  MutexLock lock(&mutex_);
  return number < taken_;
}

void StreamPipe::Kick() {
  pending_.store(true);
  if (loop_.Here()) return loop_.MarkDirty(*this);
  loop_.MarkDirty(*this);
  if (!loop_.asleep()) return;
  if (one_thread_.load(std::memory_order_relaxed)) return loop_.Wake();
  Flush();
}

void StreamPipe::Flush() {
  // Whoever holds the lock looks for pending work again after releasing it, so nothing is left behind when it is taken.
  while (pending_.load() && write_mutex_.TryLock()) {
    pending_.store(false);
    SendQueued();
    write_mutex_.Unlock();
  }
}

void StreamPipe::SendQueued() {
  // What is written next begins a message.
  bool fresh = false;
  while (out_ != nullptr && !blocked_) {
    if (sending_.empty()) {
      if (flowing_) {
        MutexLock lock(&mutex_);
        std::swap(sending_, outbox_);
        taken_ = appended_;
        fresh = true;
      }
      if (sending_.empty()) {
        if (finishing_) std::exchange(out_, nullptr)->Finish();
        return;
      }
    }
    const ssize_t written = out_->Send(sending_, fresh && sending_.bytes() > kMuch ? kAhead : StreamSocket::kAll);
    fresh = false;
    if (written < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) {
        blocked_ = true;
        if (!out_->quiet()) WatchFor(EPOLLIN | EPOLLOUT);
        return;
      }
      // The loop hears of it by an event.
      out_ = nullptr;
      return;
    }
    sent_ = true;
    // What is sent before the flow is of no count.
    if (flowing_) queued_bytes_.fetch_sub(static_cast<uint64_t>(written), std::memory_order_relaxed);
  }
}

void StreamPipe::WatchFor(uint32_t events) {
  if (watched_ == events) return;
  watched_ = events;
  loop_.Rewatch(out_->fd(), events, *this);
}

// --- The loop's thread ---

void StreamPipe::Attach(std::unique_ptr<StreamSocket> socket) {
  socket_ = std::move(socket);
  one_thread_.store(socket_->one_thread());
  ++attachment_;
  open_ = dropping_ = read_again_ = false;
  reader_.Reset();
  heard_bytes_ = reader_.bytes();
  silence_ = awaited_silence_ = 0;
  slow_since_ = absl::InfiniteFuture();
  loop_.Watch(socket_->fd(), EPOLLIN | EPOLLOUT, *this);
}

bool StreamPipe::Linked() const {
  if (socket_ == nullptr) return false;
  pollfd state{.fd = socket_->fd(), .events = POLLOUT, .revents = 0};
  return poll(&state, 1, 0) > 0 && (state.revents & (POLLERR | POLLHUP)) == 0;
}

void StreamPipe::Detach() {
  DetachUnsent();
  DropUnsent();
  queued_bytes_.store(0);
}

void StreamPipe::DetachUnsent() {
  if (!socket_) return;
  ++attachment_;
  open_ = false;
  {
    MutexLock lock(&write_mutex_);
    out_ = nullptr;
    sending_.Clear();
    flowing_ = blocked_ = finishing_ = false;
  }
  loop_.Drop(socket_->fd(), Ref<StreamLoop::Source>(this));
  loop_.Unpoll(*this);
  socket_ = nullptr;
  reader_.Reset();
}

void StreamPipe::DropUnsent() {
  MutexLock lock(&mutex_);
  queued_bytes_.fetch_sub(outbox_.bytes(), std::memory_order_relaxed);
  outbox_.Clear();
  taken_ = appended_;
}

void StreamPipe::SendFirst(absl::string_view header) {
  {
    MutexLock lock(&write_mutex_);
    sending_.Append(header, {});
    SendQueued();
  }
  Flush();
}

void StreamPipe::LetFlow() {
  {
    MutexLock lock(&write_mutex_);
    // What is left of SendFirst() was not counted when it was appended.
    queued_bytes_.fetch_add(sending_.bytes(), std::memory_order_relaxed);
    flowing_ = true;
  }
  pending_.store(true);
  loop_.MarkDirty(*this);
}

void StreamPipe::Finish() {
  dropping_ = true;
  {
    MutexLock lock(&write_mutex_);
    finishing_ = true;
  }
  pending_.store(true);
  Flush();
}

void StreamPipe::Tick(absl::Time now, const StreamParts& parts, Vigil vigil) {
  if (!open_) return;
  {
    MutexLock lock(&write_mutex_);
    unsaid_ = std::exchange(sent_, false) ? 0 : unsaid_ + 1;
    const bool due = unsaid_ >= (vigil.owes ? 1 : parts.heartbeat_ticks);
    if (due && out_ != nullptr && sending_.empty() && !finishing_) {
      sending_.AppendHeartbeat();
      if (flowing_) queued_bytes_.fetch_add(sending_.bytes(), std::memory_order_relaxed);
      SendQueued();
      // The next one is due a whole interval after this one.
      sent_ = false;
      unsaid_ = 0;
    }
  }
  Flush();
  const bool heard = std::exchange(heard_bytes_, reader_.bytes()) != reader_.bytes();
  silence_ = heard ? 0 : silence_ + 1;
  awaited_silence_ = heard ? 0 : awaited_silence_ + (vigil.patience > 0 ? 1 : 0);
  if (silence_ >= parts.silent_ticks || (vigil.patience > 0 && awaited_silence_ >= vigil.patience)) {
    return OnBroken(absl::UnavailableError("the peer gave no sign of life"));
  }
  if (!reader_.unfinished() || slow_message_ != reader_.messages() || slow_since_ == absl::InfiniteFuture()) {
    slow_message_ = reader_.messages();
    slow_bytes_ = reader_.bytes();
    slow_since_ = now;
  } else if (now - slow_since_ >= parts.heartbeat * parts.slow_ticks) {
    // Who sends slower than this only holds the message's memory.
    const double want = absl::ToDoubleSeconds(now - slow_since_) * static_cast<double>(parts.slow_bytes_per_second);
    if (static_cast<double>(reader_.bytes() - slow_bytes_) < want) {
      return OnBroken(absl::InvalidArgumentError("the peer takes too long for one message"));
    }
    slow_bytes_ = reader_.bytes();
    slow_since_ = now;
  }
}

void StreamPipe::OnReady(uint32_t events) {
  if (!socket_) return;
  const Ref<StreamPipe> alive(this);
  if (!open_) {
    GoOnOpening();
    if (!open_) return;
  }
  if ((events & EPOLLOUT) != 0) {
    {
      MutexLock lock(&write_mutex_);
      blocked_ = false;
      if (out_ != nullptr) WatchFor(EPOLLIN);
    }
    pending_.store(true);
    Flush();
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
  if (socket_->quiet()) {
    socket_->TakeEvents();
    loop_.Poll(*this);
  }
  ReadSome();
}

void StreamPipe::OnStir() {
  const Ref<StreamPipe> alive(this);
  ReadSome();
}

void StreamPipe::OnDirty() {
  Flush();
  // Not inside ReadSome(), which looks after it.
  if (!reading_ && std::exchange(read_again_, false) && open_) {
    const Ref<StreamPipe> alive(this);
    ReadSome();
  }
}

void StreamPipe::GoOnOpening() {
  uint32_t wants = 0;
  const absl::StatusOr<bool> done = socket_->Open(&wants);
  if (!done.ok()) return OnBroken(done.status());
  open_ = *done;
  {
    MutexLock lock(&write_mutex_);
    StreamSocket* const socket = socket_.get();
    watched_ = open_ ? EPOLLIN : wants;
    loop_.Rewatch(socket->fd(), watched_, *this);
    if (open_) out_ = socket;
  }
  if (!open_) return;
  reader_.Reset(socket_->lender());
  if (socket_->quiet()) loop_.Poll(*this);
  OnOpen();
}

void StreamPipe::ReadSome() {
  reading_ = true;
  ReadRounds();
  reading_ = false;
  if (read_again_) loop_.MarkDirty(*this);
}

void StreamPipe::ReadRounds() {
  const uint64_t attachment = attachment_;
  const uint64_t messages = reader_.messages();
  for (int round = 0;; ++round) {
    if (round == kReadsAtOnce) {
      // Others have a turn. What a TLS library has already taken in, epoll would not tell us again.
      read_again_ = socket_->one_thread();
      break;
    }
    iovec space[2];
    const int count = reader_.Space(space);
    const ssize_t got = socket_->Read(space, count);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got <= 0) {
      if (got < 0 && errno == EBADMSG) {
        return OnBroken(absl::InvalidArgumentError("shared memory: got a ring that holds more than it can"));
      }
      const bool noisy = got < 0 && errno != ECONNRESET;
      return OnBroken(absl::UnavailableError(noisy ? absl::StrCat("read: ", std::strerror(errno))
                                                   : std::string("the connection was lost")));
    }
    reader_.Commit(static_cast<size_t>(got));
    if (!Deliver() || attachment != attachment_) return;
    size_t room = 0;
    for (int i = 0; i < count; ++i) room += space[i].iov_len;
    if (static_cast<size_t>(got) < room && !socket_->one_thread()) break;
  }
  reader_.Rest();
  // Reading may have let a TLS library write again.
  if (socket_->one_thread() || socket_->RoomAgain()) WriteAgain();
  if (reader_.messages() - messages >= kMessagesToLinger) loop_.Linger();
}

void StreamPipe::WriteAgain() {
  {
    MutexLock lock(&write_mutex_);
    blocked_ = false;
    socket_->GoOn();
  }
  pending_.store(true);
  Flush();
}

bool StreamPipe::Deliver() {
  const uint64_t attachment = attachment_;
  PeerMessage message;
  for (;;) {
    const absl::StatusOr<bool> whole = reader_.Next(&message);
    if (!whole.ok()) {
      OnBroken(whole.status());
      return false;
    }
    if (!*whole) return true;
    if (dropping_) continue;
    OnMessage(std::move(message));
    if (++handled_ % kHandledPerFlush == 0) loop_.DrainDirty();
    if (attachment != attachment_) return false;
  }
}

}  // namespace portico
