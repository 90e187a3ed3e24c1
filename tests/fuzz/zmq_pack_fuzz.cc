#include "tests/fuzz/fuzz.h"
#include "transport/zmq_pack.h"

namespace portico {
namespace {

using Messages = std::vector<PeerMessage>;

/// Each frame in memory of its own, as it is received.
absl::StatusOr<Messages> UnpackFrames(const std::vector<absl::string_view>& parts) {
  std::vector<ReceivedFrame> frames;
  for (const absl::string_view part : parts) {
    const auto origin = MakeRef<FuzzOrigin>(part);
    frames.push_back({origin->bytes(), Ref<TensorOrigin>(origin)});
  }
  Messages messages;
  absl::Status status = Unpack(absl::MakeSpan(frames), {}, &messages);
  FuzzCheck(status.ok() || messages.empty(), "nothing is appended after an error");
  if (!status.ok()) return status;
  return messages;
}

/// Input: number of frames, the length of each but the last in units of 8 bytes, then their bytes.
std::vector<absl::string_view> FramesOf(absl::string_view input) {
  std::vector<absl::string_view> frames;
  const size_t count = 1 + TakeByte(&input) % 4;
  std::vector<size_t> lengths;
  for (size_t i = 0; i + 1 < count; ++i) {
    const size_t high = TakeByte(&input);
    lengths.push_back((high << 8 | TakeByte(&input)) * 8);
  }
  for (const size_t length : lengths) {
    frames.push_back(input.substr(0, length));
    input.remove_prefix(frames.back().size());
  }
  frames.push_back(input);
  return frames;
}

void FuzzOne(absl::string_view input) {
  const auto messages = UnpackFrames(FramesOf(input));
  if (!messages.ok()) return;
  FuzzCheck(!messages->empty() && messages->size() <= kPackMaxMessages, "messages are bounded");
  // What was read, packed and read again, is the same.
  Pack pack;
  std::vector<std::string> headers;
  for (const PeerMessage& message : *messages) {
    EncodeHeader(message.header, &headers.emplace_back());
    pack.Append(headers.back(), message.tensors);
  }
  std::vector<absl::string_view> frames = {pack.head};
  for (const Tensor& frame : pack.frames) frames.push_back(frame.bytes());
  const auto again = UnpackFrames(frames);
  FuzzCheckOk(again.status(), "what was packed is unpacked");
  FuzzCheck(again->size() == messages->size(), "as many messages");
  for (size_t i = 0; i < again->size(); ++i) {
    std::string header;
    EncodeHeader((*again)[i].header, &header);
    FuzzCheck(header == headers[i], "the header is the same");
    FuzzCheck((*again)[i].tensors.size() == (*messages)[i].tensors.size(), "as many tensors");
    for (size_t t = 0; t < (*again)[i].tensors.size(); ++t) {
      FuzzCheck(SameTensor((*again)[i].tensors[t], (*messages)[i].tensors[t]), "the tensor is the same");
    }
  }
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
