#include "transport/shm_socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/status_macros.h"
#include "transport/shm_arena.h"
#include "transport/shm_offer.h"
#include "transport/shm_ring.h"
#include "transport/stream_frame.h"

namespace portico {
namespace {

/// Reading is the loop's, Send() is whoever's turn it is; they share nothing but the ring's room.
class ShmSocket : public StreamSocket {
 public:
  using StreamSocket::StreamSocket;

  ssize_t Read(const iovec* to, int count) final;
  ssize_t Send(StreamQueue& queue, size_t at_most) final;
  bool quiet() const final { return true; }
  void TakeEvents() final;
  bool Stirs() const final { return link_->in.HasData() || RoomAgain() || gone_; }
  bool RoomAgain() const final { return blocked_.load() && link_->out.TailMoved(); }
  void GoOn() final { blocked_.store(false); }
  bool Rest() final { return !gone_ && link_->in.Sleep() && !RoomAgain(); }
  StreamLender* lender() final { return &link_->lender; }

 protected:
  void Link(const Ref<ShmRegion>& region, const ShmRegion::Half& in, const ShmRegion::Half& out) {
    link_.emplace(region, in, out);
  }

 private:
  struct Ends {
    Ends(const Ref<ShmRegion>& region, const ShmRegion::Half& from, const ShmRegion::Half& to)
        : in(*from.words, from.ring, region->sizes().ring_bytes),
          lender(region, from),
          out(*to.words, to.ring, region->sizes().ring_bytes),
          arena(region, to) {}
    ShmRingReader in;
    ShmLender lender;
    ShmRingWriter out;
    ShmArena arena;
  };

  /// Wakes the peer. Where the socket is full of wake-ups it has some before it.
  void Ring() {
    const char bell = 0;
    (void)!send(fd_, &bell, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  void Publish() {
    if (link_->out.Publish()) Ring();
  }
  /// Puts the front of the queue into the ring or the arena; returns how much of the queue that was, 0 for no room.
  size_t PutFront(const StreamQueue::Front& front);

  std::optional<Ends> link_;
  bool gone_ = false;
  std::atomic<bool> blocked_{false};
  /// Bytes of the front tensor that still go through the ring.
  size_t in_ring_ = 0;
};

void ShmSocket::TakeEvents() {
  char bells[256];
  const ssize_t got = recv(fd_, bells, sizeof(bells), MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) gone_ = true;
}

ssize_t ShmSocket::Read(const iovec* to, int count) {
  ShmRingReader& in = link_->in;
  size_t ready = in.Ready();
  if (in.broken()) {
    errno = EBADMSG;
    return -1;
  }
  if (ready == 0) {
    errno = EAGAIN;
    return gone_ ? 0 : -1;
  }
  size_t total = 0;
  for (int i = 0; i < count && ready > 0; ++i) {
    const size_t size = std::min(ready, to[i].iov_len);
    in.Read(to[i].iov_base, size);
    total += size;
    ready -= size;
  }
  if (in.Publish()) Ring();
  return static_cast<ssize_t>(total);
}

size_t ShmSocket::PutFront(const StreamQueue::Front& front) {
  ShmRingWriter& out = link_->out;
  size_t room = out.Room();
  if (front.begins_tensor && in_ring_ == 0) {
    if (room < StreamLoan::kBytes) return 0;
    const std::optional<StreamLoan> loan = link_->arena.Put({front.at, front.size});
    char place[StreamLoan::kBytes];
    loan.value_or(StreamLoan()).Store(place);
    out.Write(place, sizeof(place));
    room -= sizeof(place);
    // What is lent needs no padding.
    if (loan) return StreamPadded(front.size);
    in_ring_ = front.size;
  }
  const size_t size = std::min(room, front.size);
  out.Write(front.at, size);
  if (front.tensor) in_ring_ -= size;
  return size;
}

ssize_t ShmSocket::Send(StreamQueue& queue, size_t /*at_most*/) {
  size_t total = 0;
  while (!queue.empty()) {
    const size_t put = PutFront(queue.front());
    if (put != 0) {
      queue.Consume(put);
      total += put;
      Publish();
      continue;
    }
    if (link_->out.broken()) {
      // The loop hears of it as of a peer that went.
      shutdown(fd_, SHUT_RDWR);
      errno = EPIPE;
      return -1;
    }
    Publish();
    // Before the peer can answer that there is room, which the loop may see at once.
    blocked_.store(true);
    if (!link_->out.AwaitRoom()) {
      blocked_.store(false);
      continue;
    }
    if (total != 0) break;
    errno = EAGAIN;
    return -1;
  }
  return static_cast<ssize_t>(total);
}

class ShmServerSocket final : public ShmSocket {
 public:
  ShmServerSocket(int fd, const ShmSizes& sizes) : ShmSocket(fd), sizes_(sizes) {}

  absl::StatusOr<bool> Open(uint32_t* /*wants*/) override {
    int memory = -1;
    ASSIGN_OR_RETURN(const Ref<ShmRegion> region, ShmRegion::Create(sizes_, &memory));
    const absl::Cleanup close_memory = [memory] { close(memory); };
    RETURN_IF_ERROR(SendShmOffer(fd_, sizes_, memory));
    Link(region, region->to_server(), region->to_client());
    return true;
  }

 private:
  const ShmSizes sizes_;
};

class ShmClientSocket final : public ShmSocket {
 public:
  using ShmSocket::ShmSocket;

  absl::StatusOr<bool> Open(uint32_t* wants) override {
    if (!connected_) {
      ASSIGN_OR_RETURN(connected_, ShmSocket::Open(wants));
      if (!connected_) return false;
    }
    *wants = EPOLLIN;
    ASSIGN_OR_RETURN(const std::optional<Ref<ShmRegion>> region, ReceiveShmOffer(fd_));
    if (!region) return false;
    Link(*region, (*region)->to_client(), (*region)->to_server());
    return true;
  }

 private:
  bool connected_ = false;
};

}  // namespace

SocketMaker ShmClientSockets() {
  return [](int fd) -> std::unique_ptr<StreamSocket> { return std::make_unique<ShmClientSocket>(fd); };
}

SocketMaker ShmServerSockets(const ShmSizes& sizes) {
  return [sizes](int fd) -> std::unique_ptr<StreamSocket> { return std::make_unique<ShmServerSocket>(fd, sizes); };
}

}  // namespace portico
