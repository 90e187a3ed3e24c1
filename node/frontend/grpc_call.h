#pragma once

#include "grpcpp/grpcpp.h"
#include "node/frontend/grpc_message.h"
#include "node/frontend/request_entry.h"

/// For the .cc files of the gRPC frontends only: grpcpp is a heavy header.

namespace portico {

/// What metadata and deadline of a call say, and who calls: RequestEntry::Start().
absl::Status EnterCall(const Entrance& entrance, const grpc::CallbackServerContext& call, RequestEntry* entry);

/// A client's unary call, request and response as raw bytes: what every such call does at its door and at its end. A
/// frontend derives a class per RPC, makes it with new and returns it to gRPC, which calls OnDone last, whatever
/// happened; that frees it. For one thread at a time, but for OnCancel().
///
///   Enter() → … the RPC's own steps … → Complete()
class GrpcCall : public grpc::ServerUnaryReactor {
 public:
  void OnDone() override { delete this; }
  void OnCancel() override { entry_.Cancel(); }
  /// Both reactions above are trivial: running them in place spares every call a hop to another thread.
  bool InternalInlineable() override { return true; }

 protected:
  /// Not owned; all outlive the call.
  GrpcCall(const Entrance& entrance, grpc::CallbackServerContext& call, grpc::ByteBuffer& response)
      : entrance_(entrance), call_(call), response_(response), entry_(entrance) {}

  /// Reads metadata and deadline, checks who calls, and takes the message.
  absl::Status Enter(const grpc::ByteBuffer& message);
  /// Answers with `message` and OK.
  void Answer(SplicedMessage message);
  /// Ends the call, which may be gone when this returns.
  void Complete(const absl::Status& status);

  Inference& inference() const { return entrance_.inference; }
  const Ref<RequestContext>& context() const { return entry_.context(); }

  ReceivedMessage received_;

 private:
  const Entrance& entrance_;
  grpc::CallbackServerContext& call_;
  grpc::ByteBuffer& response_;
  RequestEntry entry_;
};

}  // namespace portico
