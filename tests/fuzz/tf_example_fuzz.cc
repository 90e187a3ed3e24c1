#include "node/frontend/tfs_example.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/signatures.h"

namespace portico {
namespace {

constexpr uint64_t kMaxBytes = 1 << 20;

/// Input: which signature, then a serialised tensorflow.serving.Input.
void FuzzOne(absl::string_view input) {
  static const FuzzSignatures& signatures = *new FuzzSignatures;
  const char* const names[] = {"examples", "", "serialized", "int64", "uint8", "bool", "string", "two", "fixed"};
  const Signature& signature = *signatures.Find(names[TakeByte(&input) % std::size(names)]);
  const FuzzOrigin exact(input);
  const auto examples = ReadExamples(exact.bytes());
  if (!examples.ok()) return;
  FuzzCheck(!examples->examples.empty(), "no examples are an error");
  const auto tensors = ExampleTensors(signature, *examples, kMaxBytes);
  if (!tensors.ok()) return;
  FuzzCheck(tensors->size() == signature.inputs.size(), "all inputs are there");
  for (size_t i = 0; i < tensors->size(); ++i) {
    const Tensor& tensor = (*tensors)[i];
    FuzzCheck(tensor.dtype() == signature.inputs[i].dtype, "the dtype is the signature's");
    FuzzCheck(tensor.rows() == static_cast<int64_t>(examples->examples.size()), "an example is a row");
    FuzzCheckOk(Tensor::View(tensor.dtype(), tensor.shape(), tensor.bytes(), tensor.origin()).status(), "well formed");
  }
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
