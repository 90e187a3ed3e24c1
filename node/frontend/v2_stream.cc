#include "node/frontend/v2_stream.h"

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/mutex.h"
#include "grpcpp/grpcpp.h"
#include "node/frontend/grpc_message.h"
#include "node/frontend/v2_infer_call.h"

namespace portico {
namespace {

class Stream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  class StreamedCall;

  Stream(const Entrance& entrance, grpc::CallbackServerContext& call, uint64_t max_bytes, int max_in_flight)
      : entrance_(entrance), call_(call), max_bytes_(max_bytes), max_in_flight_(static_cast<size_t>(max_in_flight)) {}

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { delete this; }

  /// Reads, writes or finishes, whatever can be done now; first takes `answer` of `completed`, which it frees. Not
  /// under the lock: gRPC may answer in place. While a read or a write is under way the stream is not finished, so it
  /// outlives this call.
  void Advance(StreamedCall* completed = nullptr, grpc::ByteBuffer* answer = nullptr);

 private:
  const Entrance& entrance_;
  grpc::CallbackServerContext& call_;
  const uint64_t max_bytes_;
  const size_t max_in_flight_;
  /// gRPC's while reading_ and writing_.
  grpc::ByteBuffer incoming_, outgoing_;
  Mutex mutex_;
  absl::flat_hash_set<StreamedCall*> running_ ABSL_GUARDED_BY(mutex_);
  std::deque<grpc::ByteBuffer> unsent_ ABSL_GUARDED_BY(mutex_);
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool input_ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

class Stream::StreamedCall final : public V2InferCall {
 public:
  explicit StreamedCall(Stream& stream) : V2InferCall(stream.entrance_, stream.max_bytes_), stream_(stream) {}

 private:
  /// A stream has one set of headers: no traceparent per request.
  void Deliver(absl::StatusOr<SplicedMessage> response, const std::string& traceparent) override {
    grpc::ByteBuffer answer;
    SendMessage(
        response.ok() ? WrapV2StreamResponse(*std::move(response)) : WriteV2StreamError(response.status(), id()),
        &answer);
    stream_.Advance(this, &answer);
  }

  Stream& stream_;
};

void Stream::OnReadDone(bool ok) {
  StreamedCall* request = nullptr;
  grpc::ByteBuffer message;
  {
    MutexLock lock(&mutex_);
    reading_ = false;
    if (!ok) {
      input_ended_ = true;
    } else {
      message.Swap(&incoming_);
      request = new StreamedCall(*this);
      running_.insert(request);
      if (cancelled_) request->Cancel();
    }
  }
  if (request != nullptr) {
    // It may complete, and be gone, inside the call.
    request->Start([this](absl::string_view name) { return MetadataOf(call_, name); },
                   DeadlineOf(call_, entrance_.inference.clock()), message);
  }
  Advance();
}

void Stream::OnWriteDone(bool ok) {
  {
    MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) unsent_.clear();  // The client has gone; OnCancel() comes, too.
  }
  Advance();
}

void Stream::OnCancel() {
  std::vector<Ref<RequestContext>> contexts;
  {
    MutexLock lock(&mutex_);
    cancelled_ = true;
    for (const StreamedCall* request : running_) contexts.push_back(request->context());
  }
  // Not under the lock: a request may be answered, and be gone, inside.
  for (const Ref<RequestContext>& context : contexts) context->Cancel();
  Advance();
}

void Stream::Advance(StreamedCall* completed, grpc::ByteBuffer* answer) {
  bool read = false, write = false, finish = false;
  {
    MutexLock lock(&mutex_);
    if (completed != nullptr) {
      running_.erase(completed);
      unsent_.emplace_back().Swap(answer);
    }
    if (cancelled_) unsent_.clear();
    const size_t in_hand = running_.size() + unsent_.size() + (writing_ ? 1 : 0);
    if (!writing_ && !unsent_.empty()) {
      outgoing_.Swap(&unsent_.front());
      unsent_.pop_front();
      writing_ = write = true;
    }
    if (!reading_ && !input_ended_ && in_hand < max_in_flight_) reading_ = read = true;
    if (input_ended_ && !writing_ && running_.empty() && !finished_) finished_ = finish = true;
  }
  delete completed;
  if (write) StartWrite(&outgoing_);
  if (read) StartRead(&incoming_);
  if (finish) Finish(grpc::Status::OK);  // From here on this stream may be gone.
}

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* NewV2Stream(const Entrance& entrance,
                                                                         grpc::CallbackServerContext& call,
                                                                         uint64_t max_bytes, int max_in_flight) {
  auto* stream = new Stream(entrance, call, max_bytes, max_in_flight);
  stream->Advance();
  return stream;
}

}  // namespace portico
