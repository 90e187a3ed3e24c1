#include "node/frontend/v2_json.h"

#include <algorithm>

#include "node/frontend/http_server.h"
#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

constexpr uint64_t kMaxBytes = 1 << 20;

/// A body as the server has it, in memory of its own: tensors follow the JSON, then comes the padding that readers may
/// look at, and not a byte more.
absl::StatusOr<V2InferJson> ReadBody(absl::string_view json, absl::string_view binary) {
  const FuzzOrigin body(absl::StrCat(json, binary, std::string(HttpRequest::kBodyPadding, '\0')));
  return ReadV2InferJson(body.bytes().substr(0, json.size()), body.bytes().substr(json.size(), binary.size()),
                         kMaxBytes);
}

/// Input: length of the JSON (two bytes), the JSON, binary tensor data.
void FuzzOne(absl::string_view input) {
  const size_t high = TakeByte(&input);
  const size_t length = high << 8 | TakeByte(&input);
  const absl::string_view json = input.substr(0, length);
  const auto read = ReadBody(json, input.substr(json.size()));
  if (!read.ok()) return;
  Signature signature;
  std::vector<Tensor> outputs;
  std::vector<int> selected;
  for (const NamedTensor& named : read->inputs) {
    FuzzCheckOk(
        Tensor::View(named.tensor.dtype(), named.tensor.shape(), named.tensor.bytes(), named.tensor.origin()).status(),
        "well formed");
    selected.push_back(static_cast<int>(outputs.size()));
    signature.outputs.emplace_back().name = named.name;
    outputs.push_back(named.tensor);
  }
  // What was read, written as an answer and read again as a request, is the same.
  const auto binary = std::make_unique<bool[]>(outputs.size());
  std::fill_n(binary.get(), outputs.size(), true);
  const auto answer =
      WriteV2InferJson({"m", 1, "7"}, signature, selected, absl::MakeConstSpan(binary.get(), outputs.size()), outputs);
  FuzzCheckOk(answer.status(), "what was read can be answered");
  std::string head = answer->bytes.substr(0, answer->json);
  const size_t key = head.find("\"outputs\":[");
  FuzzCheck(key != head.npos, "the answer has outputs");
  const auto again = ReadBody(absl::StrCat("{\"inputs\":", head.substr(key + 10)),
                              absl::string_view(answer->bytes).substr(answer->json));
  if (outputs.empty()) return;
  FuzzCheckOk(again.status(), absl::StrCat("what was written is read: ", head));
  FuzzCheck(again->inputs.size() == outputs.size(), "as many tensors");
  for (size_t i = 0; i < outputs.size(); ++i)
    FuzzCheck(SameTensor(outputs[i], again->inputs[i].tensor), "the tensor is the same");
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
