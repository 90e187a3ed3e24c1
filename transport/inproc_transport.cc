#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/check.h"
#include "base/gate.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "transport/transport.h"

namespace portico {
namespace {

constexpr absl::string_view kScheme = "inproc://";

class InprocChannel;

/// Applies `visit` to every view a header has.
template <typename Visit>
void ForEachView(PeerHeader& header, Visit visit) {
  for (absl::string_view* view : {&header.servable, &header.digest, &header.signature, &header.tenant, &header.product,
                                  &header.message, &header.node}) {
    visit(*view);
  }
  for (TensorMeta& tensor : header.tensors) visit(tensor.name);
  for (RowStatus& row : header.row_status) visit(row.message);
  for (absl::string_view& note : header.notes) visit(note);
  for (WireSpan& span : header.spans) {
    visit(span.name);
    visit(span.node);
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
      text->bytes_.append(view);  // Within what was reserved: nothing moves.
      view = absl::string_view(text->bytes_).substr(begin);
    });
    return text;
  }

 private:
  explicit HeaderText(size_t size) : TensorOrigin(size) { bytes_.reserve(size); }
  std::string bytes_;
};

PeerMessage MakeMessage(const PeerHeader& header, absl::Span<const Tensor> tensors) {
  PeerMessage message;
  message.header = header;
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

/// One call in flight. Whoever is first of reply, deadline, cancel and loss of the peer completes it; the others find
/// nothing to do. Outlives its channel where the answer comes late.
class InprocCall final : public RefCounted {
 public:
  InprocCall(InprocChannel& channel, uint64_t id, uint64_t bytes, Deadline deadline, Channel::Done done)
      : channel_(channel), id_(id), bytes_(bytes), deadline_(deadline), done_(std::move(done)) {}

  uint64_t id() const { return id_; }
  uint64_t bytes() const { return bytes_; }
  Deadline deadline() const { return deadline_; }
  /// False when it was complete already.
  bool Complete(absl::StatusOr<PeerMessage> result);

 private:
  /// Not touched after completion.
  InprocChannel& channel_;
  const uint64_t id_;
  const uint64_t bytes_;
  const Deadline deadline_;
  Channel::Done done_;
  std::atomic<bool> completed_{false};
};

/// The transport's one thread: fires deadlines and tells channels' owners of changes, in order.
class EventThread {
 public:
  explicit EventThread(const Clock& clock) : clock_(clock), thread_([this] { Run(); }) {}
  ~EventThread() {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
    }
    wake_.NotifyAll();
    thread_.join();
  }

  void Post(absl::AnyInvocable<void()> task) {
    MutexLock lock(&mutex_);
    tasks_.push_back(std::move(task));
    wake_.NotifyOne();
  }
  /// Blocks until what was posted before has run. REQUIRES: not on this thread.
  void Flush() {
    PORTICO_CHECK(std::this_thread::get_id() != thread_.get_id());
    MutexLock lock(&mutex_);
    bool reached = false;
    tasks_.push_back([&] {
      MutexLock inner(&mutex_);
      reached = true;
      flushed_.NotifyAll();
    });
    wake_.NotifyOne();
    while (!reached) flushed_.Wait(&mutex_);
  }
  void AddDeadline(Ref<InprocCall> call) {
    MutexLock lock(&mutex_);
    const Key key(call->deadline().at(), call.get());
    const bool first = deadlines_.emplace(key, std::move(call)).first == deadlines_.begin();
    if (first) wake_.NotifyOne();
  }
  void RemoveDeadline(const InprocCall& call) {
    Ref<InprocCall> removed;  // Released after the lock: a call's last owner runs what it captured.
    MutexLock lock(&mutex_);
    const auto found = deadlines_.find(Key(call.deadline().at(), &call));
    if (found == deadlines_.end()) return;
    removed = std::move(found->second);
    deadlines_.erase(found);
  }

 private:
  using Key = std::pair<absl::Time, const InprocCall*>;

  void Run() {
    mutex_.Lock();
    while (!stopping_) {
      if (!tasks_.empty()) {
        absl::AnyInvocable<void()> task = std::move(tasks_.front());
        tasks_.pop_front();
        mutex_.Unlock();
        task();
        task = nullptr;
        mutex_.Lock();
      } else if (deadlines_.empty()) {
        wake_.Wait(&mutex_);
      } else if (const absl::Duration left = deadlines_.begin()->first.first - clock_.Now(); left > absl::ZeroDuration()) {
        wake_.WaitFor(&mutex_, left);
      } else {
        Ref<InprocCall> call = std::move(deadlines_.begin()->second);
        deadlines_.erase(deadlines_.begin());
        mutex_.Unlock();
        call->Complete(absl::DeadlineExceededError("no answer in time"));
        call = nullptr;
        mutex_.Lock();
      }
    }
    mutex_.Unlock();
  }

  const Clock& clock_;
  Mutex mutex_;
  CondVar wake_;
  CondVar flushed_;
  std::deque<absl::AnyInvocable<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  std::map<Key, Ref<InprocCall>> deadlines_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

/// What channels see of a listener; shared with calls on their way into its handler.
struct Served {
  explicit Served(CallHandler& h) : handler(h) {}
  CallHandler& handler;
  /// Inside: calls to `handler`. Closed with the listener.
  Gate gate;
};

/// Brings channels and listeners of one name together. Thread-safe.
class Exchange {
 public:
  explicit Exchange(const Clock& clock) : clock_(clock), events_(clock) {}

  absl::Status AddListener(const std::string& name, std::shared_ptr<Served> served, PeerState self);
  void RemoveListener(const std::string& name);
  void Announce(const std::string& name, PeerState self);
  void AddChannel(const std::string& name, InprocChannel& channel);
  void RemoveChannel(const std::string& name, InprocChannel& channel);

  const Clock& clock() const { return clock_; }
  EventThread& events() { return events_; }

 private:
  struct Meeting {
    std::shared_ptr<Served> served;
    PeerState self;
    std::vector<InprocChannel*> channels;
  };
  void Tell(const Meeting& meeting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock& clock_;
  EventThread events_;
  Mutex mutex_;
  absl::flat_hash_map<std::string, Meeting> meetings_ ABSL_GUARDED_BY(mutex_);
};

/// A call runs into the peer's handler on the caller's thread and its answer completes on the thread that answers.
class InprocChannel final : public Channel {
 public:
  InprocChannel(Exchange& exchange, std::string endpoint, ChannelOptions options)
      : exchange_(exchange), endpoint_(std::move(endpoint)), options_(std::move(options)), connection_(NextConnection()) {
    exchange_.AddChannel(endpoint_, *this);
  }

  ~InprocChannel() override {
    exchange_.RemoveChannel(endpoint_, *this);
    calls_gate_.Close();
    FailAll(absl::CancelledError(absl::StrCat("endpoint '", endpoint_, "': the channel was closed")));
    calls_gate_.Drain(absl::InfiniteDuration());
    exchange_.events().Flush();
  }

  uint64_t Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline deadline, Done done) override {
    const uint64_t id = next_id_.fetch_add(1, std::memory_order_relaxed);
    uint64_t bytes = 0;
    for (const Tensor& tensor : tensors) bytes += tensor.bytes().size();
    const absl::Duration left = deadline.Remaining(exchange_.clock());
    if (left <= absl::ZeroDuration()) {
      done(absl::DeadlineExceededError(absl::StrCat("endpoint '", endpoint_, "': the deadline passed before the call")));
      return id;
    }
    Ref<InprocCall> call;
    absl::StatusOr<std::shared_ptr<Served>> peer = Admit(id, bytes, deadline, done, &call);
    if (!peer.ok()) {
      done(peer.status());
      return id;
    }
    if (!deadline.infinite()) exchange_.events().AddDeadline(call);
    PeerMessage message = MakeMessage(header, tensors);
    message.connection = connection_;
    message.header.kind = PeerHeader::Kind::kCall;
    message.header.call_id = id;
    message.header.timeout_us = deadline.infinite() ? 0 : std::max<int64_t>(1, absl::ToInt64Microseconds(left));
    if ((*peer)->gate.Enter()) {
      (*peer)->handler.OnCall(std::move(message), ReplyTo(std::move(call)));
      (*peer)->gate.Leave();
    } else {
      call->Complete(Lost());
    }
    return id;
  }

  void Cancel(uint64_t call_id) override {
    Ref<InprocCall> call;
    std::shared_ptr<Served> peer;
    {
      MutexLock lock(&mutex_);
      const auto found = calls_.find(call_id);
      if (found == calls_.end()) return;
      call = found->second;
      peer = peer_;
    }
    if (!call->Complete(absl::CancelledError(absl::StrCat("endpoint '", endpoint_, "': the caller cancelled")))) return;
    if (peer != nullptr && peer->gate.Enter()) {
      peer->handler.OnCancel(connection_, call_id);
      peer->gate.Leave();
    }
  }

  /// The peer came, said something new, wants no more calls (served null, !lost) or went.
  void OnPeer(std::shared_ptr<Served> served, PeerState state, bool lost) {
    {
      MutexLock lock(&mutex_);
      peer_ = std::move(served);
    }
    if (lost) FailAll(Lost());
    if (options_.on_state) options_.on_state(state);
  }

  /// The first step of a completion: what the call held is free again.
  void Forget(InprocCall& call) {
    if (!call.deadline().infinite()) exchange_.events().RemoveDeadline(call);
    MutexLock lock(&mutex_);
    bytes_ -= call.bytes();
    calls_.erase(call.id());
  }
  void Leave() { calls_gate_.Leave(); }

 private:
  /// Answers when called; when dropped instead, says so.
  class Reply {
   public:
    explicit Reply(Ref<InprocCall> call) : call_(std::move(call)) {}
    Reply(Reply&&) noexcept = default;
    ~Reply() {
      if (!call_) return;
      PeerHeader header;
      header.code = static_cast<uint32_t>(absl::StatusCode::kInternal);
      header.message = "the call was dropped without an answer";
      (*this)(header, {});
    }
    void operator()(const PeerHeader& header, absl::Span<const Tensor> tensors) {
      Ref<InprocCall> call = std::move(call_);
      PeerMessage message = MakeMessage(header, tensors);
      message.header.kind = PeerHeader::Kind::kReply;
      message.header.call_id = call->id();
      call->Complete(std::move(message));
    }

   private:
    Ref<InprocCall> call_;
  };

  static PeerReply ReplyTo(Ref<InprocCall> call) { return Reply(std::move(call)); }
  static uint64_t NextConnection() {
    static std::atomic<uint64_t> next{1};
    return next.fetch_add(1, std::memory_order_relaxed);
  }
  absl::Status Lost() const { return absl::UnavailableError(absl::StrCat("endpoint '", endpoint_, "': lost the peer")); }

  /// Takes room in the window and enters the call into the table; `done` is moved only when that works.
  absl::StatusOr<std::shared_ptr<Served>> Admit(uint64_t id, uint64_t bytes, Deadline deadline, Done& done,
                                                Ref<InprocCall>* call) {
    MutexLock lock(&mutex_);
    if (peer_ == nullptr) {
      return absl::UnavailableError(absl::StrCat("endpoint '", endpoint_, "': no connection; the call was not sent"));
    }
    if (calls_.size() >= options_.max_calls) {
      return absl::ResourceExhaustedError(
          absl::StrCat("endpoint '", endpoint_, "': got ", calls_.size(), " calls in flight, want fewer than ", options_.max_calls));
    }
    if (bytes > options_.max_bytes || bytes_ > options_.max_bytes - bytes) {
      return absl::ResourceExhaustedError(absl::StrCat("endpoint '", endpoint_, "': got ", bytes, " bytes on top of ", bytes_,
                                                       " in flight, want at most ", options_.max_bytes));
    }
    if (!calls_gate_.Enter()) return absl::CancelledError(absl::StrCat("endpoint '", endpoint_, "': the channel is closing"));
    bytes_ += bytes;
    *call = MakeRef<InprocCall>(*this, id, bytes, deadline, std::move(done));
    calls_.emplace(id, *call);
    return peer_;
  }

  void FailAll(const absl::Status& status) {
    std::vector<Ref<InprocCall>> calls;
    {
      MutexLock lock(&mutex_);
      for (const auto& [id, call] : calls_) calls.push_back(call);
    }
    for (const Ref<InprocCall>& call : calls) call->Complete(status);
  }

  Exchange& exchange_;
  const std::string endpoint_;
  const ChannelOptions options_;
  const uint64_t connection_;
  std::atomic<uint64_t> next_id_{1};
  /// Inside: calls whose completion has not returned.
  Gate calls_gate_;
  Mutex mutex_;
  std::shared_ptr<Served> peer_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint64_t, Ref<InprocCall>> calls_ ABSL_GUARDED_BY(mutex_);
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

bool InprocCall::Complete(absl::StatusOr<PeerMessage> result) {
  if (completed_.exchange(true, std::memory_order_acq_rel)) return false;
  Ref<InprocCall> self(this);  // Forget() may drop the last other owner.
  channel_.Forget(*this);
  Channel::Done done = std::move(done_);
  done(std::move(result));
  done = nullptr;
  channel_.Leave();
  return true;
}

absl::Status Exchange::AddListener(const std::string& name, std::shared_ptr<Served> served, PeerState self) {
  MutexLock lock(&mutex_);
  Meeting& meeting = meetings_[name];
  if (meeting.served != nullptr) {
    return absl::AlreadyExistsError(absl::StrCat("endpoint '", name, "': got a second listener, want one; choose another name"));
  }
  meeting.served = std::move(served);
  meeting.self = std::move(self);
  meeting.self.connected = true;
  Tell(meeting);
  return absl::OkStatus();
}

void Exchange::Announce(const std::string& name, PeerState self) {
  MutexLock lock(&mutex_);
  Meeting& meeting = meetings_[name];
  meeting.self = std::move(self);
  Tell(meeting);
}

void Exchange::Tell(const Meeting& meeting) {
  for (InprocChannel* channel : meeting.channels) {
    events_.Post([channel, served = meeting.self.connected ? meeting.served : nullptr, state = meeting.self] {
      channel->OnPeer(served, state, /*lost=*/false);
    });
  }
}

void Exchange::RemoveListener(const std::string& name) {
  {
    MutexLock lock(&mutex_);
    Meeting& meeting = meetings_[name];
    meeting.served = nullptr;
    meeting.self.connected = false;
    for (InprocChannel* channel : meeting.channels) {
      events_.Post([channel, state = meeting.self] { channel->OnPeer(nullptr, state, /*lost=*/true); });
    }
  }
  events_.Flush();
}

void Exchange::AddChannel(const std::string& name, InprocChannel& channel) {
  bool tell;
  {
    MutexLock lock(&mutex_);
    Meeting& meeting = meetings_[name];
    meeting.channels.push_back(&channel);
    tell = meeting.served != nullptr;
    if (tell) {
      events_.Post([&channel, served = meeting.self.connected ? meeting.served : nullptr, state = meeting.self] {
        channel.OnPeer(served, state, /*lost=*/false);
      });
    }
  }
}

void Exchange::RemoveChannel(const std::string& name, InprocChannel& channel) {
  MutexLock lock(&mutex_);
  std::erase(meetings_[name].channels, &channel);
}

class InprocListener final : public Listener {
 public:
  InprocListener(Exchange& exchange, std::string endpoint, std::shared_ptr<Served> served)
      : exchange_(exchange), endpoint_(std::move(endpoint)), served_(std::move(served)) {}
  ~InprocListener() override {
    served_->gate.Close();
    served_->gate.Drain(absl::InfiniteDuration());
    exchange_.RemoveListener(endpoint_);
  }

  const std::string& endpoint() const override { return endpoint_; }
  void Announce(const PeerState& self) override {
    MutexLock lock(&mutex_);
    self_ = self;
    Tell();
  }
  void GoAway() override {
    MutexLock lock(&mutex_);
    going_away_ = true;
    Tell();
  }

 private:
  void Tell() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    PeerState state = self_;
    state.connected = !going_away_;
    exchange_.Announce(endpoint_, std::move(state));
  }

  Exchange& exchange_;
  const std::string endpoint_;
  const std::shared_ptr<Served> served_;
  Mutex mutex_;
  PeerState self_ ABSL_GUARDED_BY(mutex_);
  bool going_away_ ABSL_GUARDED_BY(mutex_) = false;
};
