#include "codec/tensor_proto.h"
#include "node/frontend/tfs_codec.h"
#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

constexpr uint64_t kMaxBytes = 1 << 20;

/// A tensor, written and read again, is the same.
void CheckRoundTrip(const Tensor& tensor) {
  const auto encoded = EncodeTensorProto(tensor);
  if (!encoded.ok()) return;
  const auto origin = MakeRef<FuzzOrigin>(absl::StrCat(encoded->head, encoded->content.bytes()));
  const auto again = ReadTensorProto(origin->bytes(), Ref<TensorOrigin>(origin), uint64_t{64} << 20);
  FuzzCheckOk(again.status(), "what was written is read");
  FuzzCheck(SameTensor(tensor, *again), "the tensor is the same");
}

void FuzzOne(absl::string_view input) {
  const auto origin = MakeRef<FuzzOrigin>(input);
  // A single tensor too: deeper inside, sooner found.
  const auto tensor = ReadTensorProto(origin->bytes(), Ref<TensorOrigin>(origin), kMaxBytes);
  if (tensor.ok()) CheckRoundTrip(*tensor);

  const auto request = ReadPredictRequest(origin->bytes());
  if (!request.ok()) return;
  FuzzCheck(request->inputs.size() <= 1024 && request->output_filter.size() <= 1024, "inputs and filters are bounded");
  RefOfModelSpec(request->has_spec, request->spec).IgnoreError();
  const auto inputs = ReadPredictInputs(*request, Ref<TensorOrigin>(origin), kMaxBytes);
  if (!inputs.ok()) return;
  Signature signature;
  std::vector<Tensor> outputs;
  for (const NamedTensor& named : *inputs) {
    CheckRoundTrip(named.tensor);
    TensorSpec spec;
    spec.name = named.name;
    signature.outputs.push_back(spec);
    outputs.push_back(named.tensor);
  }
  const auto selected = SelectOutputs(signature, request->output_filter);
  if (!selected.ok()) return;
  WritePredictResponse("model", 1, signature, *selected, outputs).IgnoreError();
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
