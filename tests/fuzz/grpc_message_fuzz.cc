#include "transport/grpc_message.h"

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

void CheckSame(const PeerMessage& a, const PeerMessage& b) {
  std::string first, second;
  EncodeHeader(a.header, &first);
  EncodeHeader(b.header, &second);
  FuzzCheck(first == second, "the header is the same");
  FuzzCheck(a.tensors.size() == b.tensors.size(), "as many tensors");
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    FuzzCheck(SameTensor(a.tensors[i], b.tensors[i]), "the tensor is the same");
  }
}

/// Input: where the buffer is cut into slices (two bytes each, two cuts), then the message.
void FuzzOne(absl::string_view input) {
  const size_t first = TakeByte(&input);
  const size_t second = TakeByte(&input);
  std::vector<grpc::Slice> slices;
  for (const size_t length : {first, second, input.size()}) {
    const absl::string_view part = input.substr(0, length);
    input.remove_prefix(part.size());
    if (!part.empty()) slices.emplace_back(part.data(), part.size());
  }
  const grpc::ByteBuffer buffer(slices.data(), slices.size());
  PeerMessage message;
  if (!ReadGrpcMessage(buffer, {}, &message).ok()) return;
  // What was read, written and read again, is the same.
  grpc::ByteBuffer written;
  WriteGrpcMessage(message.header,
                   {message.header.kind, message.header.call_id, message.header.timeout_us, message.tensors}, &written);
  PeerMessage again;
  FuzzCheckOk(ReadGrpcMessage(written, {}, &again), "what was written is read");
  CheckSame(message, again);
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
