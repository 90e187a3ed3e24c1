#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/event_thread.h"
#include "base/gate.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "transport/call_window.h"
#include "transport/connection_id.h"
#include "transport/reply_ticket.h"
#include "transport/transport.h"

namespace portico {
namespace {

constexpr absl::string_view kScheme = "inproc://";

/// Applies `visit` to every view a header has.
template <typename Visit>
void ForEachView(PeerHeader& header, Visit visit) {
  for (absl::string_view* view : {&header.servable, &header.digest, &header.signature, &header.trace_state,
                                  &header.tenant, &header.product, &header.message, &header.node}) {
    visit(*view);
  }
  for (TensorMeta& tensor : header.tensors) visit(tensor.name);
  for (RowStatus& row : header.row_status) {
    visit(row.message);
    visit(row.ranges);
    visit(row.portal);
    visit(row.kind);
  }
  for (absl::string_view& note : header.notes) visit(note);
  for (WireSpan& span : header.spans) {
    visit(span.name);
    visit(span.node);
    visit(span.error);
    visit(span.attributes);
  }
  for (ServedEntry& entry : header.served) {
    visit(entry.name);
    visit(entry.digest);
  }
}

/// The text of one header: what its views point to after the sender's strings are gone.
class HeaderText final : public TensorOrigin {
 public:
  /// Copies what `header` views and points its views at the copy.
  static Ref<TensorOrigin> Own(PeerHeader& header) {
    size_t size = 0;
    ForEachView(header, [&](absl::string_view& view) { size += view.size(); });
    Ref<HeaderText> text(new HeaderText(size));
    ForEachView(header, [&](absl::string_view& view) {
      const size_t begin = text->bytes_.size();
      text->bytes_.append(view.data(), view.size());  // Within what was reserved: nothing moves.
      view = absl::string_view(text->bytes_).substr(begin);
    });
    return text;
  }

 private:
  explicit HeaderText(size_t size) : TensorOrigin(size) { bytes_.reserve(size); }
  std::string bytes_;
};

PeerMessage MakeMessage(const PeerHeader& header, PeerHeader::Kind kind, uint64_t call_id,
                        absl::Span<const Tensor> tensors) {
  PeerMessage message;
  message.header = header;
  message.header.kind = kind;
  message.header.call_id = call_id;
  message.header.tensors.resize(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    TensorMeta& meta = message.header.tensors[i];
    meta.dtype = tensors[i].dtype();
    meta.shape = tensors[i].shape();
    meta.bytes = tensors[i].bytes().size();
  }
  message.origin = HeaderText::Own(message.header);
  message.tensors.assign(tensors.begin(), tensors.end());
  return message;
}

class InprocChannel;

/// One call in flight. Whoever is first of reply, deadline, cancel and loss of the peer completes it; the others find
/// nothing to do. Outlives its channel where the answer comes late.
class InprocCall final : public RefCounted {
 public:
  InprocCall(InprocChannel& channel, uint64_t id, uint64_t bytes, Deadline deadline, Channel::Done done)
      : id(id), bytes(bytes), deadline(deadline), channel_(channel), done_(std::move(done)) {}

  /// False when it was complete already.
  bool Complete(absl::StatusOr<PeerMessage> result);
  /// By the peer's handler.
  void Reply(uint64_t call_id, const PeerHeader& header, absl::Span<const Tensor> tensors) {
    Complete(MakeMessage(header, PeerHeader::Kind::kReply, call_id, tensors));
  }

  // A cancel that comes while the handler is being handed the call must not overtake it: whoever is second tells it.
  /// The handler's OnCall() has returned. True where it has to be told that the call was abandoned.
  bool HandedOver() {
    handed_over_.store(true, std::memory_order_seq_cst);
    return abandoned_.load(std::memory_order_seq_cst);
  }
  /// This side gave it up. True where the handler has to be told.
  bool Abandoned() {
    abandoned_.store(true, std::memory_order_seq_cst);
    return handed_over_.load(std::memory_order_seq_cst);
  }

  const uint64_t id;
  const uint64_t bytes;
  const Deadline deadline;

 private:
  /// Not touched after completion.
  InprocChannel& channel_;
  Channel::Done done_;
  std::atomic<bool> completed_{false};
  std::atomic<bool> handed_over_{false};
  std::atomic<bool> abandoned_{false};
};

/// What channels see of a listener; shared with calls on their way into its handler.
struct Doorway {
  explicit Doorway(CallHandler& h) : handler(h) {}
  CallHandler& handler;
  /// Inside: threads that are in `handler`. Closed with the listener.
  Gate gate;
};

/// Brings channels and listeners of one name together. Thread-safe.
class Exchange {
 public:
  explicit Exchange(const Clock& clock) : clock_(clock), events_("inproc-events", clock) {}

  absl::Status Open(const std::string& name, std::shared_ptr<Doorway> doorway, PeerState self);
  void Announce(const std::string& name, const PeerState& self);
  void GoAway(const std::string& name);
  /// Fails what is in flight to `name`; returns when that is done.
  void Close(const std::string& name);
  void Join(const std::string& name, InprocChannel& channel);
  void Leave(const std::string& name, InprocChannel& channel);

  const Clock& clock() const { return clock_; }
  EventThread& events() { return events_; }

 private:
  struct Place {
    std::shared_ptr<Doorway> doorway;
    /// Not connected: going away, or closed.
    PeerState self;
    std::vector<InprocChannel*> channels;
  };
  void Tell(const Place& place, InprocChannel& channel) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock& clock_;
  EventThread events_;
  Mutex mutex_;
  absl::flat_hash_map<std::string, Place> places_ ABSL_GUARDED_BY(mutex_);
};

/// A call runs into the peer's handler on the caller's thread, and its answer completes on the thread that answers.
class InprocChannel final : public Channel {
 public:
  InprocChannel(Exchange& exchange, std::string endpoint, ChannelOptions options)
      : exchange_(exchange),
        endpoint_(std::move(endpoint)),
        options_(std::move(options)),
        connection_(NextConnectionId()) {
    exchange_.Join(endpoint_, *this);
    connect_by_ = exchange_.events().At(exchange_.clock().Now() + options_.connect_timeout, [this] { GiveUp(); });
  }

  ~InprocChannel() override {
    exchange_.Leave(endpoint_, *this);
    exchange_.events().Drop(connect_by_);
    gate_.Close();
    for (const Ref<InprocCall>& call : Calls()) {
      Abandon(call, absl::CancelledError(absl::StrCat("endpoint '", endpoint_, "': the channel was closed")));
    }
    gate_.Drain(absl::InfiniteDuration());
    exchange_.events().Flush();
  }

  uint64_t Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline deadline, Done done) override {
    const uint64_t id = next_id_.fetch_add(1, std::memory_order_relaxed);
    absl::StatusOr<Ref<InprocCall>> call = Admit(id, header, tensors, deadline, done);
    if (call.ok()) {
      PeerMessage message = MakeMessage(header, PeerHeader::Kind::kCall, id, tensors);
      message.connection = connection_;
      Deliver(*std::move(call), std::move(message));
    } else {
      done(std::move(call).status());
    }
    return id;
  }

  void Cancel(uint64_t call_id) override {
    Ref<InprocCall> call;
    {
      MutexLock lock(&mutex_);
      const auto found = calls_.find(call_id);
      if (found == calls_.end()) return;
      call = found->second.call;
    }
    Abandon(call, absl::CancelledError(absl::StrCat("endpoint '", endpoint_, "': the caller cancelled")));
  }

  /// Where calls go from now on; null: nowhere.
  void SetPeer(std::shared_ptr<Doorway> peer) {
    MutexLock lock(&mutex_);
    may_wait_ = may_wait_ && peer == nullptr;
    peer_ = std::move(peer);
  }
  /// After SetPeer(), on the transport's thread: sends what has waited, tells the owner.
  void OnPeer(const PeerState& state) {
    std::vector<std::pair<Ref<InprocCall>, PeerMessage>> waiting;
    {
      MutexLock lock(&mutex_);
      for (auto& [id, pending] : calls_) {
        if (!pending.waiting.has_value()) continue;
        waiting.emplace_back(pending.call, *std::move(pending.waiting));
        pending.waiting.reset();
      }
    }
    for (auto& [call, message] : waiting) Deliver(std::move(call), std::move(message));
    if (options_.on_state) options_.on_state(state);
  }
  /// The first connection did not come in time.
  void GiveUp() {
    {
      MutexLock lock(&mutex_);
      if (!std::exchange(may_wait_, false)) return;
    }
    for (const Ref<InprocCall>& call : Calls()) {
      call->Complete(absl::UnavailableError(absl::StrCat("endpoint '", endpoint_, "': no connection within ",
                                                         absl::FormatDuration(options_.connect_timeout),
                                                         "; the call was not sent")));
    }
    if (options_.on_state) options_.on_state(PeerState());
  }
  void FailLost() {
    for (const Ref<InprocCall>& call : Calls()) call->Complete(Lost());
  }

  /// First step of a completion: what the call held of the channel is free again.
  void Forget(const InprocCall& call) {
    std::optional<EventThread::TimerId> timer;
    {
      MutexLock lock(&mutex_);
      window_.Leave(call.bytes);
      timer = calls_.extract(call.id).mapped().timer;
    }
    if (timer.has_value()) exchange_.events().Drop(*timer);
  }
  /// Last step: the destructor may go on.
  void LeaveGate() { gate_.Leave(); }

 private:
  struct Pending {
    Ref<InprocCall> call;
    std::optional<EventThread::TimerId> timer;
    /// Kept until the first connection.
    std::optional<PeerMessage> waiting;
  };

  absl::Status Lost() const {
    return absl::UnavailableError(absl::StrCat("endpoint '", endpoint_, "': lost the peer; the call was sent"));
  }

  /// Takes room in the window and enters the call into the table. Moves `done` only when that works.
  absl::StatusOr<Ref<InprocCall>> Admit(uint64_t id, const PeerHeader& header, absl::Span<const Tensor> tensors,
                                        Deadline deadline, Done& done) {
    if (deadline.Expired(exchange_.clock())) {
      return absl::DeadlineExceededError(
          absl::StrCat("endpoint '", endpoint_, "': the deadline passed before the call"));
    }
    RETURN_IF_ERROR(CheckSendable("call", header, tensors, options_.limits));
    uint64_t bytes = 0;
    for (const Tensor& tensor : tensors) bytes += tensor.bytes().size();
    MutexLock lock(&mutex_);
    if (peer_ == nullptr && !may_wait_) {
      return absl::UnavailableError(absl::StrCat("endpoint '", endpoint_, "': no connection; the call was not sent"));
    }
    RETURN_IF_ERROR(window_.Enter(bytes));
    if (!gate_.Enter()) {
      window_.Leave(bytes);
      return absl::CancelledError(absl::StrCat("endpoint '", endpoint_, "': the channel is closing"));
    }
    auto call = MakeRef<InprocCall>(*this, id, bytes, deadline, std::move(done));
    Pending& pending = calls_[id];
    pending.call = call;
    if (!deadline.infinite()) {
      pending.timer = exchange_.events().At(deadline.at(), [call, this] {
        Abandon(call, absl::DeadlineExceededError(absl::StrCat("endpoint '", endpoint_, "': no answer in time")));
      });
    }
    return call;
  }

  /// Into the peer's handler; or, before the first connection, onto the call to wait for it.
  void Deliver(Ref<InprocCall> call, PeerMessage message) {
    std::shared_ptr<Doorway> peer;
    {
      MutexLock lock(&mutex_);
      const auto found = calls_.find(call->id);
      if (found == calls_.end()) return;  // Complete already.
      if (peer_ == nullptr && may_wait_) {
        found->second.waiting = std::move(message);
        return;
      }
      peer = peer_;
    }
    if (peer == nullptr || !peer->gate.Enter()) {
      call->Complete(Lost());
      return;
    }
    if (!call->deadline.infinite()) {
      const absl::Duration left = call->deadline.Remaining(exchange_.clock());
      message.header.timeout_us = std::max<int64_t>(1, absl::ToInt64Microseconds(left));
    }
    // The channel may be gone as soon as the call is complete.
    const uint64_t connection = connection_, id = call->id;
    peer->handler.OnCall(std::move(message), ReplyTicket<InprocCall>(call, id));
    if (call->HandedOver()) peer->handler.OnCancel(connection, id);
    peer->gate.Leave();
  }

  /// Completes the call because of this side, and tells the peer.
  void Abandon(const Ref<InprocCall>& call, absl::Status status) {
    const uint64_t connection = connection_;
    std::shared_ptr<Doorway> peer;
    {
      MutexLock lock(&mutex_);
      peer = peer_;
    }
    // From its completion on, the channel may be gone.
    if (!call->Complete(std::move(status)) || peer == nullptr || !peer->gate.Enter()) return;
    if (call->Abandoned()) peer->handler.OnCancel(connection, call->id);
    peer->gate.Leave();
  }

  std::vector<Ref<InprocCall>> Calls() {
    std::vector<Ref<InprocCall>> calls;
    MutexLock lock(&mutex_);
    for (const auto& [id, pending] : calls_) calls.push_back(pending.call);
    return calls;
  }

  Exchange& exchange_;
  const std::string endpoint_;
  const ChannelOptions options_;
  const uint64_t connection_;
  EventThread::TimerId connect_by_;
  std::atomic<uint64_t> next_id_{1};
  CallWindow window_{endpoint_, options_};
  /// Inside: calls whose completion has not returned.
  Gate gate_;
  Mutex mutex_;
  std::shared_ptr<Doorway> peer_ ABSL_GUARDED_BY(mutex_);
  /// Until the first connection, or until waiting for it took too long.
  bool may_wait_ ABSL_GUARDED_BY(mutex_) = true;
  absl::flat_hash_map<uint64_t, Pending> calls_ ABSL_GUARDED_BY(mutex_);
};

bool InprocCall::Complete(absl::StatusOr<PeerMessage> result) {
  if (completed_.exchange(true, std::memory_order_acq_rel)) return false;
  const Ref<InprocCall> self(this);  // Forget() may drop the last other owner.
  channel_.Forget(*this);
  Channel::Done done = std::move(done_);
  done(std::move(result));
  done = nullptr;
  channel_.LeaveGate();
  return true;
}

absl::Status Exchange::Open(const std::string& name, std::shared_ptr<Doorway> doorway, PeerState self) {
  MutexLock lock(&mutex_);
  Place& place = places_[name];
  if (place.doorway != nullptr) {
    return absl::AlreadyExistsError(
        absl::StrCat("endpoint '", name, "': got a second listener, want one; choose another name"));
  }
  place.doorway = std::move(doorway);
  place.self = std::move(self);
  place.self.connected = true;
  for (InprocChannel* channel : place.channels) Tell(place, *channel);
  return absl::OkStatus();
}

void Exchange::Announce(const std::string& name, const PeerState& self) {
  MutexLock lock(&mutex_);
  Place& place = places_[name];
  const bool connected = place.self.connected;
  place.self = self;
  place.self.connected = connected;
  for (InprocChannel* channel : place.channels) Tell(place, *channel);
}

void Exchange::GoAway(const std::string& name) {
  MutexLock lock(&mutex_);
  Place& place = places_[name];
  place.self.connected = false;
  for (InprocChannel* channel : place.channels) Tell(place, *channel);
}

void Exchange::Close(const std::string& name) {
  {
    MutexLock lock(&mutex_);
    Place& place = places_[name];
    place.doorway = nullptr;
    place.self.connected = false;
    for (InprocChannel* channel : place.channels) {
      Tell(place, *channel);
      events_.Post([channel] { channel->FailLost(); });
    }
    if (place.channels.empty()) places_.erase(name);
  }
  events_.Flush();
}

void Exchange::Join(const std::string& name, InprocChannel& channel) {
  MutexLock lock(&mutex_);
  Place& place = places_[name];
  place.channels.push_back(&channel);
  if (place.doorway != nullptr) Tell(place, channel);
}

void Exchange::Leave(const std::string& name, InprocChannel& channel) {
  MutexLock lock(&mutex_);
  Place& place = places_[name];
  std::erase(place.channels, &channel);
  if (place.channels.empty() && place.doorway == nullptr) places_.erase(name);
}

void Exchange::Tell(const Place& place, InprocChannel& channel) {
  channel.SetPeer(place.self.connected ? place.doorway : nullptr);
  events_.Post([&channel, state = place.self] { channel.OnPeer(state); });
}

class InprocListener final : public Listener {
 public:
  InprocListener(Exchange& exchange, std::string endpoint, std::shared_ptr<Doorway> doorway)
      : exchange_(exchange), endpoint_(std::move(endpoint)), doorway_(std::move(doorway)) {}
  ~InprocListener() override {
    doorway_->gate.Close();
    doorway_->gate.Drain(absl::InfiniteDuration());
    exchange_.Close(endpoint_);
  }

  const std::string& endpoint() const override { return endpoint_; }
  void Announce(const PeerState& self) override { exchange_.Announce(endpoint_, self); }
  void GoAway() override { exchange_.GoAway(endpoint_); }

 private:
  Exchange& exchange_;
  const std::string endpoint_;
  const std::shared_ptr<Doorway> doorway_;
};

class InprocTransport final : public Transport {
 public:
  explicit InprocTransport(const Clock& clock) : exchange_(clock) {}

  absl::StatusOr<std::unique_ptr<Channel>> Connect(const std::string& endpoint, ChannelOptions options) override {
    RETURN_IF_ERROR(CheckEndpoint(endpoint));
    return std::make_unique<InprocChannel>(exchange_, endpoint, std::move(options));
  }

  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& endpoint, CallHandler& handler,
                                                   ListenOptions options) override {
    RETURN_IF_ERROR(CheckEndpoint(endpoint));
    auto doorway = std::make_shared<Doorway>(handler);
    RETURN_IF_ERROR(exchange_.Open(endpoint, doorway, std::move(options.self)));
    return std::make_unique<InprocListener>(exchange_, endpoint, std::move(doorway));
  }

 private:
  static absl::Status CheckEndpoint(const std::string& endpoint) {
    if (absl::StartsWith(endpoint, kScheme) && endpoint.size() > kScheme.size()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("endpoint: got '", endpoint, "', want ", kScheme, "NAME"));
  }

  Exchange exchange_;
};

}  // namespace

std::unique_ptr<Transport> NewInprocTransport(const Clock& clock) { return std::make_unique<InprocTransport>(clock); }

}  // namespace portico
