#include "transport/grpc_bytes.h"

#include <utility>
#include <vector>

#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"

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
    return absl::InvalidArgumentError("message: got none, want one");
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

}  // namespace portico
