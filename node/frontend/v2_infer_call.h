#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "node/frontend/grpc_message.h"
#include "node/frontend/request_entry.h"
#include "node/frontend/v2_codec.h"

namespace portico {

/// One ModelInfer over gRPC, alone or in a stream: Start (read, acquire) → OnServable (inputs, run) → OnOutputs (write)
/// → Deliver. Each step may run on another thread, one at a time. Lives until Deliver() was called, once; who derives
/// from it frees it there or later.
class V2InferCall {
 public:
  /// `entrance` is not owned and must outlive it. `max_bytes`: that tensors may unfold to.
  V2InferCall(const Entrance& entrance, uint64_t max_bytes)
      : inference_(entrance.inference), max_bytes_(max_bytes), entry_(entrance) {}
  virtual ~V2InferCall() = default;

  /// May call Deliver() inside.
  void Start(absl::FunctionRef<absl::string_view(absl::string_view)> header, Deadline deadline,
             const grpc::ByteBuffer& message);
  /// The client has gone. From any thread, while the call lives; it may be answered, and be gone, inside.
  void Cancel() const { entry_.Cancel(); }
  const Ref<RequestContext>& context() const { return entry_.context(); }
  /// Of the request, as far as it was read.
  const std::string& id() const { return id_; }

 protected:
  std::string Fallbacks() const { return entry_.Fallbacks(); }
  std::string NotedRows() const { return entry_.NotedRows(); }
  absl::string_view Arm() const { return entry_.Arm(); }
  /// `traceparent` to answer with; empty: none.
  virtual void Deliver(absl::StatusOr<SplicedMessage> response, const std::string& traceparent) = 0;

 private:
  absl::StatusOr<ServableRef> Read(absl::FunctionRef<absl::string_view(absl::string_view)> header, Deadline deadline,
                                   const grpc::ByteBuffer& message);
  void OnServable(absl::StatusOr<std::shared_ptr<const Servable>> servable);
  absl::StatusOr<std::vector<Tensor>> Prepare();
  absl::StatusOr<SplicedMessage> Write(const absl::StatusOr<std::vector<Tensor>>& outputs) const;
  void Complete(absl::StatusOr<SplicedMessage> response);

  Inference& inference_;
  const uint64_t max_bytes_;
  RequestEntry entry_;
  std::string id_;
  ReceivedMessage received_;
  V2InferRequestView request_;
  std::shared_ptr<const Servable> servable_;
  const Signature* signature_ = nullptr;
  absl::InlinedVector<int, 8> selected_;
};

/// The signature that a request's parameters name; where they name none, serving_default or the only one.
/// INVALID_ARGUMENT where the model has none of that name.
absl::StatusOr<const Signature*> FindV2Signature(const Servable& servable, absl::string_view name);

}  // namespace portico
