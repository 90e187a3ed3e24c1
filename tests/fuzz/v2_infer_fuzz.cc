#include "codec/v2_dtype.h"
#include "node/frontend/v2_codec.h"
#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

constexpr uint64_t kMaxBytes = 1 << 20;

/// A tensor, written raw and read again, is the same.
void CheckRoundTrip(const Tensor& tensor) {
  SplicedMessage raw;
  AppendV2Raw(tensor, &raw);
  std::string bytes = raw.bytes;
  for (auto splice = raw.splices.rbegin(); splice != raw.splices.rend(); ++splice) {
    bytes.insert(splice->at, std::string(splice->tensor.bytes()));
  }
  FuzzCheck(bytes.size() == V2RawSize(tensor), "the size is as told");
  const auto origin = MakeRef<FuzzOrigin>(bytes);
  const auto again =
      ReadV2Raw({"x", tensor.dtype(), tensor.shape()}, origin->bytes(), Ref<TensorOrigin>(origin), uint64_t{64} << 20);
  FuzzCheckOk(again.status(), "what was written is read");
  FuzzCheck(SameTensor(tensor, *again), "the tensor is the same");
}

void FuzzOne(absl::string_view input) {
  const auto origin = MakeRef<FuzzOrigin>(input);
  V2InferRequestView request;
  const absl::Status status = ReadV2InferRequest(origin->bytes(), &request);
  if (!status.ok()) {
    WriteV2StreamError(status, request.id);
    return;
  }
  FuzzCheck(request.inputs.size() <= 1024 && request.outputs.size() <= 1024, "inputs and outputs are bounded");
  RefOfV2(request.model, request.version).IgnoreError();
  const auto inputs = ReadV2Inputs(request, Ref<TensorOrigin>(origin), kMaxBytes);
  if (!inputs.ok()) return;
  Signature signature;
  std::vector<Tensor> outputs;
  std::vector<int> selected;
  for (const NamedTensor& named : *inputs) {
    CheckRoundTrip(named.tensor);
    selected.push_back(static_cast<int>(outputs.size()));
    signature.outputs.emplace_back().name = named.name;
    outputs.push_back(named.tensor);
  }
  auto answer = WriteV2InferResponse({request.model, 1, request.id}, signature, selected, outputs);
  FuzzCheckOk(answer.status(), "what was read can be answered");
  WrapV2StreamResponse(*std::move(answer));
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
