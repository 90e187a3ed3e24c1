#include "transport/foreign_channel.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"

namespace portico {
namespace {

/// A server that answers is asked again after this; one that does not, after the second, doubled up to the first.
constexpr absl::Duration kProbeEvery = absl::Seconds(1);
constexpr absl::Duration kFirstRetry = absl::Milliseconds(50);
/// One that takes longer to say that it is ready is not.
constexpr absl::Duration kProbeTimeout = absl::Seconds(2);

bool SameServed(const PeerState& a, const PeerState& b) {
  return absl::c_equal(a.served, b.served, [](const PeerState::Served& x, const PeerState::Served& y) {
    return x.name == y.name && x.version == y.version;
  });
}

}  // namespace

ForeignChannel::ForeignChannel(const std::string& name, ForeignEndpoint endpoint, std::string token,
                               std::unique_ptr<ForeignApi> api, std::unique_ptr<ForeignWire> wire,
                               ChannelOptions options, EventThread& events, const Clock& clock)
    : name_(name),
      endpoint_(std::move(endpoint)),
      token_(std::move(token)),
      api_(std::move(api)),
      options_(std::move(options)),
      events_(events),
      clock_(clock),
      wire_(std::move(wire)),
      questions_(endpoint_.models.empty() ? std::vector<std::string>{""} : endpoint_.models),
      retry_after_(kFirstRetry) {
  connect_by_ = events_.At(clock_.Now() + options_.connect_timeout, [this] { OnConnectTimeout(); });
  events_.Post([this] { StartProbes(); });
}

ForeignChannel::~ForeignChannel() {
  events_.Drop(connect_by_);
  std::vector<Ref<ForeignExchange>> exchanges;
  std::optional<EventThread::TimerId> round;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    round = next_round_;
  }
  if (round.has_value()) events_.Drop(*round);
  events_.Flush();  // What had begun there has seen stopping_ now.
  {
    MutexLock lock(&mutex_);
    exchanges = probes_;
    for (const auto& [id, call] : calls_) exchanges.push_back(call.exchange);
  }
  for (const Ref<ForeignExchange>& exchange : exchanges) exchange->Cancel();
  {
    MutexLock lock(&mutex_);
    while (unfinished_ > 0) idle_.Wait(&mutex_);
  }
  events_.Flush();  // A last OnRound().
}

ForeignHeaders ForeignChannel::HeadersFor(const PeerHeader& header) const {
  ForeignHeaders headers;
  if (!token_.empty()) headers.emplace_back("authorization", absl::StrCat("Bearer ", token_));
  if ((header.trace_id_high | header.trace_id_low) != 0 && header.parent_span_id != 0) {
    headers.emplace_back("traceparent",
                         absl::StrFormat("00-%016x%016x-%016x-%02x", header.trace_id_high, header.trace_id_low,
                                         header.parent_span_id, static_cast<int>(header.sampled)));
    if (!header.trace_state.empty()) headers.emplace_back("tracestate", std::string(header.trace_state));
  }
  return headers;
}

PeerHeader ForeignChannel::Renamed(const PeerHeader& header) const {
  PeerHeader renamed = header;
  if (header.servable == endpoint_.target) renamed.servable = endpoint_.models[0];
  if (endpoint_.version >= 0) renamed.version = endpoint_.version;
  return renamed;
}

uint64_t ForeignChannel::Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline deadline,
                              Done done) {
  const uint64_t id = next_id_.fetch_add(1, std::memory_order_relaxed);
  const absl::Duration left = deadline.Remaining(clock_);
  if (left <= absl::ZeroDuration()) {
    done(absl::DeadlineExceededError(absl::StrCat("endpoint '", name_, "': the deadline passed before the call")));
    return id;
  }
  uint64_t bytes = 0;
  for (const Tensor& tensor : tensors) bytes += tensor.bytes().size();
  absl::Status status = CheckSendable("call", header, tensors, options_.limits);
  absl::StatusOr<ForeignRequest> request;
  if (status.ok()) {
    request = endpoint_.target.empty() && endpoint_.version < 0 ? api_->MakeCall(header, tensors)
                                                                : api_->MakeCall(Renamed(header), tensors);
    if (!request.ok()) status = WithContext(absl::StrCat("endpoint '", name_, "'"), request.status());
  }
  if (status.ok()) status = Admit(bytes);
  if (!status.ok()) {
    done(std::move(status));
    return id;
  }
  std::vector<WantedOutput> wanted = std::move(request->wanted);
  Ref<ForeignExchange> exchange =
      wire_->NewExchange(*std::move(request), HeadersFor(header),
                         [this, id, bytes, wanted = std::move(wanted),
                          done = std::move(done)](absl::StatusOr<ReceivedMessage> answer) mutable {
                           OnAnswer(id, bytes, wanted, std::move(done), std::move(answer));
                         });
  {
    MutexLock lock(&mutex_);
    calls_[id].exchange = exchange;
    ++unfinished_;
  }
  exchange->Start(left, /*wait=*/link_.load(std::memory_order_relaxed) == Link::kNever);
  return id;
}

absl::Status ForeignChannel::Admit(uint64_t bytes) {
  if (link_.load(std::memory_order_relaxed) == Link::kDown) {
    MutexLock lock(&mutex_);
    return absl::UnavailableError(absl::StrCat("endpoint '", name_, "': the call was not sent: ", why_not_));
  }
  const uint64_t calls = calls_in_flight_.fetch_add(1, std::memory_order_relaxed);
  const uint64_t before = bytes_in_flight_.fetch_add(bytes, std::memory_order_relaxed);
  if (calls < options_.max_calls && before + bytes <= options_.max_bytes) return absl::OkStatus();
  ReleaseWindow(bytes);
  return absl::ResourceExhaustedError(absl::StrCat("endpoint '", name_, "': got ", calls, " calls and ", before,
                                                   " bytes in flight and ", bytes, " bytes more, want at most ",
                                                   options_.max_calls, " calls and ", options_.max_bytes, " bytes"));
}

void ForeignChannel::ReleaseWindow(uint64_t bytes) {
  calls_in_flight_.fetch_sub(1, std::memory_order_relaxed);
  bytes_in_flight_.fetch_sub(bytes, std::memory_order_relaxed);
}

void ForeignChannel::OnAnswer(uint64_t id, uint64_t bytes, absl::Span<const WantedOutput> wanted, Done done,
                              absl::StatusOr<ReceivedMessage> answer) {
  bool gave_up = false;
  {
    MutexLock lock(&mutex_);
    const auto found = calls_.find(id);
    gave_up = found->second.gave_up;
    calls_.erase(found);
  }
  ReleaseWindow(bytes);
  done(ReadAnswer(std::move(answer), wanted, gave_up));
  done = nullptr;
  Finished();
}

absl::StatusOr<PeerMessage> ForeignChannel::ReadAnswer(absl::StatusOr<ReceivedMessage> answer,
                                                       absl::Span<const WantedOutput> wanted, bool gave_up) const {
  PeerMessage reply;
  absl::Status status = answer.status();
  if (status.ok()) {
    reply.header.kind = PeerHeader::Kind::kReply;
    reply.origin = answer->origin;
    status = api_->ReadReply(*answer, wanted, options_.limits, &reply);
  } else if (gave_up) {
    status = absl::UnavailableError("no connection could be made; the call was not sent");
  } else {
    api_->OnError(status);
  }
  if (!status.ok()) return WithContext(absl::StrCat("endpoint '", name_, "'"), status);
  return reply;
}

void ForeignChannel::Cancel(uint64_t call_id) {
  Ref<ForeignExchange> exchange;
  {
    MutexLock lock(&mutex_);
    const auto found = calls_.find(call_id);
    if (found == calls_.end()) return;
    exchange = found->second.exchange;
  }
  exchange->Cancel();
}

void ForeignChannel::StartProbes() {
  ForeignHeaders headers;
  if (!token_.empty()) headers.emplace_back("authorization", absl::StrCat("Bearer ", token_));
  std::vector<Ref<ForeignExchange>> probes;
  for (size_t i = 0; i < questions_.size(); ++i) {
    probes.push_back(wire_->NewExchange(api_->MakeProbe(questions_[i], endpoint_.version), headers,
                                        [this, i](absl::StatusOr<ReceivedMessage> answer) { OnProbe(i, answer); }));
  }
  {
    MutexLock lock(&mutex_);
    next_round_.reset();
    if (stopping_) return;
    probes_ = probes;
    probes_out_ = probes.size();
    unfinished_ += probes.size();
    found_ = PeerState();
  }
  for (const Ref<ForeignExchange>& probe : probes) probe->Start(kProbeTimeout, /*wait=*/false);
}

void ForeignChannel::OnProbe(size_t model, const absl::StatusOr<ReceivedMessage>& answer) {
  const absl::StatusOr<int64_t> ready = api_->ReadProbe(questions_[model], answer);
  bool last;
  {
    MutexLock lock(&mutex_);
    if (ready.ok()) {
      found_.connected = true;
      const std::string& target = endpoint_.target.empty() ? questions_[model] : endpoint_.target;
      if (!target.empty()) found_.served.push_back({target, *ready, Digest()});
    } else {
      why_not_ = std::string(ready.status().message());
    }
    last = --probes_out_ == 0;
  }
  // There, so that it and OnConnectTimeout() follow each other.
  if (last) events_.Post([this] { OnRound(); });
  Finished();
}

void ForeignChannel::OnRound() {
  PeerState state;
  {
    MutexLock lock(&mutex_);
    if (stopping_) return;
    state = found_;
    probes_.clear();
  }
  absl::c_sort(state.served, [](const PeerState::Served& a, const PeerState::Served& b) { return a.name < b.name; });
  const bool connected = state.connected;
  // Until the time for the first connection is over, a server may still be on its way.
  if (connected || link_.load(std::memory_order_relaxed) != Link::kNever) Become(std::move(state));
  MutexLock lock(&mutex_);
  if (stopping_) return;  // The destructor has been here.
  next_round_ = events_.At(clock_.Now() + (connected ? kProbeEvery : retry_after_), [this] { StartProbes(); });
  retry_after_ = connected ? kFirstRetry : std::min(retry_after_ * 2, kProbeEvery);
}

void ForeignChannel::OnConnectTimeout() {
  Link never = Link::kNever;
  if (!link_.compare_exchange_strong(never, Link::kDown, std::memory_order_relaxed)) return;
  std::vector<Ref<ForeignExchange>> exchanges;
  {
    MutexLock lock(&mutex_);
    for (auto& [id, call] : calls_) {
      call.gave_up = true;
      exchanges.push_back(call.exchange);
    }
  }
  for (const Ref<ForeignExchange>& exchange : exchanges) exchange->Cancel();
  Become(PeerState());
}

void ForeignChannel::Become(PeerState state) {
  link_.store(state.connected ? Link::kUp : Link::kDown, std::memory_order_relaxed);
  {
    MutexLock lock(&mutex_);
    if (told_ && state_.connected == state.connected && SameServed(state_, state)) return;
    told_ = true;
    state_ = state;
  }
  if (options_.on_state) options_.on_state(state);
}

void ForeignChannel::Finished() {
  MutexLock lock(&mutex_);
  --unfinished_;
  // Notified under the lock: the destructor may go on as soon as it sees zero.
  idle_.NotifyAll();
}

}  // namespace portico
