#include <algorithm>
#include <cstring>

#include "tests/fuzz/fuzz.h"
#include "transport/stream_reader.h"

namespace portico {
namespace {

struct Read {
  std::vector<PeerMessage> messages;
  absl::Status status;
};

/// Reads `input` in portions of at most `portion` bytes.
Read ReadAll(absl::string_view input, size_t portion) {
  StreamBuffers buffers;
  StreamReader reader({}, buffers);
  reader.Greeted();
  Read read;
  while (!input.empty()) {
    iovec space[2];
    const int count = reader.Space(space);
    FuzzCheck(count >= 1 && space[0].iov_len > 0, "there is room for what comes");
    const size_t size = std::min({input.size(), portion, space[0].iov_len});
    std::memcpy(space[0].iov_base, input.data(), size);
    input.remove_prefix(size);
    reader.Commit(size);
    for (;;) {
      PeerMessage message;
      const absl::StatusOr<bool> whole = reader.Next(&message);
      read.status = whole.status();
      if (!whole.ok()) return read;
      if (!*whole) break;
      read.messages.push_back(std::move(message));
    }
    reader.Rest();
  }
  return read;
}

void CheckSame(const std::vector<PeerMessage>& a, const std::vector<PeerMessage>& b) {
  FuzzCheck(a.size() == b.size(), "as many messages");
  for (size_t i = 0; i < a.size(); ++i) {
    std::string header_a, header_b;
    EncodeHeader(a[i].header, &header_a);
    EncodeHeader(b[i].header, &header_b);
    FuzzCheck(header_a == header_b, "the header is the same");
    FuzzCheck(a[i].tensors.size() == b[i].tensors.size(), "as many tensors");
    for (size_t t = 0; t < a[i].tensors.size(); ++t) {
      FuzzCheck(SameTensor(a[i].tensors[t], b[i].tensors[t]), "the tensor is the same");
    }
  }
}

/// Input: the size of a portion, then the stream.
void FuzzOne(absl::string_view input) {
  const size_t portion = 1 + TakeByte(&input);
  const Read whole = ReadAll(input, input.size() + 1);
  const Read cut = ReadAll(input, portion);
  FuzzCheck(whole.status.code() == cut.status.code(), "how the bytes are cut does not matter");
  CheckSame(whole.messages, cut.messages);
  // What was read, written and read again, is the same.
  StreamQueue queue;
  for (const PeerMessage& message : whole.messages) {
    std::string header;
    EncodeHeader(message.header, &header);
    queue.Append(header, message.tensors);
  }
  std::string bytes;
  while (!queue.empty()) {
    iovec pieces[4];
    const int count = queue.Pieces(pieces, 4);
    FuzzCheck(count > 0, "what is not empty has pieces");
    bytes.append(static_cast<const char*>(pieces[0].iov_base), pieces[0].iov_len);
    queue.Consume(pieces[0].iov_len);
  }
  const Read again = ReadAll(bytes, portion);
  FuzzCheckOk(again.status, "what was written is read");
  CheckSame(whole.messages, again.messages);
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
