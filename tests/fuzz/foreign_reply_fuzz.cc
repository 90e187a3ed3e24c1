// What servers of somebody else's make answer, over either wire.

#include "codec/json_padding.h"
#include "tests/fuzz/fuzz.h"
#include "transport/foreign_api.h"
#include "transport/http_status.h"

namespace portico {
namespace {

/// A body with the padding that readers may look at behind it, and not a byte more.
ReceivedMessage Message(absl::string_view body, uint64_t json_bytes) {
  auto origin = MakeRef<FuzzOrigin>(absl::StrCat(body, std::string(kJsonPadding, '\0')));
  ReceivedMessage message;
  message.bytes = origin->bytes().substr(0, body.size());
  message.json_bytes = json_bytes;
  message.origin = std::move(origin);
  return message;
}

/// Input: which API (a byte), length of the JSON (two bytes; 0: all), the body.
void FuzzOne(absl::string_view input) {
  static const std::unique_ptr<ForeignApi> apis[] = {NewTfsForeignApi(), NewV2ForeignApi(), NewTfsRestApi(),
                                                     NewV2RestApi()};
  const ForeignApi& api = *apis[TakeByte(&input) % 4];
  const size_t high = TakeByte(&input);
  const uint64_t json_bytes = high << 8 | TakeByte(&input);
  const ReceivedMessage message = Message(input, json_bytes);
  const std::vector<WantedOutput> wanted = {{"x", DType::kFloat, {-1}},
                                            {"y", DType::kInt64, {-1, 2}},
                                            {"s", DType::kString, {}},
                                            {"c", DType::kComplex64, {}}};
  PeerLimits limits;
  limits.max_tensors = 8;
  limits.max_message_bytes = 1 << 20;
  for (const size_t count : {wanted.size(), size_t{1}}) {
    PeerMessage reply;
    reply.origin = message.origin;
    if (!api.ReadReply(message, absl::MakeConstSpan(wanted).subspan(0, count), limits, &reply).ok()) continue;
    FuzzCheck(reply.tensors.size() <= limits.max_tensors, "no more tensors than may be");
    FuzzCheck(reply.tensors.size() == reply.header.tensors.size(), "each has a name");
    for (const Tensor& tensor : reply.tensors) {
      FuzzCheckOk(Tensor::View(tensor.dtype(), tensor.shape(), tensor.bytes(), tensor.origin()).status(),
                  "well formed");
    }
  }
  const absl::StatusOr<int64_t> ready = api.ReadProbe("m", message);
  FuzzCheck(!ready.ok() || *ready >= 0, "a version or none");
  FuzzCheck(!StatusOfHttp(static_cast<int>(json_bytes), message.bytes).ok(), "an error is an error");
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
