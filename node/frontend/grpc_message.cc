#include "node/frontend/grpc_message.h"

#include <chrono>
#include <utility>
#include <vector>

#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"
#include "grpcpp/support/status.h"

namespace portico {
namespace {

class SliceOrigin final : public TensorOrigin {
 public:
  explicit SliceOrigin(grpc::Slice slice) : TensorOrigin(slice.size()), slice_(std::move(slice)) {}
  absl::string_view bytes() const { return {reinterpret_cast<const char*>(slice_.begin()), slice_.size()}; }

 private:
  const grpc::Slice slice_;
};

/// A slice of the tensor's own memory.
grpc::Slice SliceOf(Tensor tensor) {
  auto* held = new Tensor(std::move(tensor));
  return {const_cast<char*>(held->bytes().data()), held->bytes().size(),
          [](void* user_data) { delete static_cast<Tensor*>(user_data); }, held};
}

}  // namespace

absl::StatusOr<ReceivedMessage> ReceiveMessage(const grpc::ByteBuffer& message) {
  grpc::Slice slice;
  if (!message.TrySingleSlice(&slice).ok() && !message.DumpToSingleSlice(&slice).ok()) {
    return absl::InvalidArgumentError("request: got no message");
  }
  auto origin = MakeRef<SliceOrigin>(std::move(slice));
  const absl::string_view bytes = origin->bytes();
  return ReceivedMessage{std::move(origin), bytes};
}

void SendMessage(SplicedMessage message, grpc::ByteBuffer* out) {
  const grpc::Slice bytes(message.bytes);
  std::vector<grpc::Slice> slices;
  slices.reserve(2 * message.splices.size() + 1);
  size_t at = 0;
  for (SplicedMessage::Splice& splice : message.splices) {
    slices.push_back(bytes.sub(at, splice.at));
    slices.push_back(SliceOf(std::move(splice.tensor)));
    at = splice.at;
  }
  slices.push_back(at == 0 ? bytes : bytes.sub(at, bytes.size()));
  grpc::ByteBuffer buffer(slices.data(), slices.size());
  out->Swap(&buffer);
}

absl::string_view MetadataOf(const grpc::CallbackServerContext& call, absl::string_view name) {
  const auto& metadata = call.client_metadata();
  const auto found = metadata.find(grpc::string_ref(name.data(), name.size()));
  return found == metadata.end() ? absl::string_view() : absl::string_view(found->second.data(), found->second.size());
}

Deadline DeadlineOf(const grpc::CallbackServerContext& call, const Clock& clock) {
  const auto at = call.deadline();
  if (at == std::chrono::system_clock::time_point::max()) return Deadline();
  return Deadline::In(absl::FromChrono(at - std::chrono::system_clock::now()), clock);
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // A message travels in a header; clients accept 8 KiB of them, and escapes may treble it.
  constexpr size_t kMaxMessage = 2048;
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message().substr(0, kMaxMessage))};
}

}  // namespace portico
