#include "node/frontend/http_server.h"
#include "node/frontend/tfs_examples_json.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/signatures.h"

namespace portico {
namespace {

void FuzzOne(absl::string_view input) {
  static const FuzzSignatures& signatures = *new FuzzSignatures;
  const auto exact = std::make_unique<char[]>(input.size() + HttpRequest::kBodyPadding);
  std::memset(exact.get(), 0, input.size() + HttpRequest::kBodyPadding);
  if (!input.empty()) std::memcpy(exact.get(), input.data(), input.size());
  const auto read =
      ReadExamplesJson({exact.get(), input.size()}, [&](absl::string_view name) { return signatures.Find(name); });
  if (!read.ok()) return;
  // What this reader writes, the other one takes: examples are well formed, whether or not they fit.
  const auto tensors = ExampleTensors(*read->signature, read->view(), 1 << 20);
  if (!tensors.ok()) return;
  for (const Tensor& tensor : *tensors) {
    FuzzCheck(tensor.rows() == static_cast<int64_t>(read->examples.size()), "an example is a row");
  }
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
