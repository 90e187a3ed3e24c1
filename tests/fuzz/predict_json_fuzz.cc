#include "node/frontend/http_server.h"
#include "node/frontend/tfs_json.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/signatures.h"

namespace portico {
namespace {

/// `body` with the padding that readers may look at, and not a byte more.
absl::StatusOr<PredictJson> ReadBody(absl::string_view body, FuzzSignatures& signatures) {
  std::string padded(body);
  padded.append(HttpRequest::kBodyPadding, '\0');
  const auto exact = std::make_unique<char[]>(padded.size());
  std::memcpy(exact.get(), padded.data(), padded.size());
  return ReadPredictJson({exact.get(), body.size()}, [&](absl::string_view name) { return signatures.Find(name); });
}

/// What was read, written as an answer and read again as a request, is the same.
void CheckRoundTrip(const PredictJson& read, FuzzSignatures& signatures) {
  absl::StatusOr<std::string> text = WritePredictJson(*read.signature, read.inputs, read.row_format);
  if (!text.ok()) return;
  const absl::string_view key = read.row_format ? "\"predictions\"" : "\"outputs\"";
  constexpr size_t at = 1;
  FuzzCheck(text->compare(at, key.size(), key.data(), key.size()) == 0, "the answer begins with its key");
  text->replace(at, key.size(),
                absl::StrCat("\"signature_name\":\"", read.signature->name, "\",",
                             read.row_format ? "\"instances\"" : "\"inputs\""));
  const auto again = ReadBody(*text, signatures);
  // Rows that are not there have no shape to tell.
  for (const Tensor& tensor : read.inputs) {
    if (tensor.num_elements() == 0) return;
  }
  FuzzCheckOk(again.status(), "what was written is read");
  FuzzCheck(again->inputs.size() == read.inputs.size(), "as many inputs");
  for (size_t i = 0; i < read.inputs.size(); ++i) {
    FuzzCheck(SameTensor(read.inputs[i], again->inputs[i]), absl::StrCat("input ", i, " is the same:\n", *text));
  }
}

void FuzzOne(absl::string_view input) {
  static FuzzSignatures& signatures = *new FuzzSignatures;
  const auto read = ReadBody(input, signatures);
  if (!read.ok()) return;
  FuzzCheck(read->signature != nullptr && read->inputs.size() == read->signature->inputs.size(),
            "all inputs are there");
  for (size_t i = 0; i < read->inputs.size(); ++i) {
    const Tensor& tensor = read->inputs[i];
    FuzzCheck(tensor.dtype() == read->signature->inputs[i].dtype, "the dtype is the signature's");
    FuzzCheckOk(Tensor::View(tensor.dtype(), tensor.shape(), tensor.bytes(), tensor.origin()).status(), "well formed");
  }
  CheckRoundTrip(*read, signatures);
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
