#include <algorithm>

#include "node/frontend/tfs_codec.h"
#include "node/observe/prediction_log.h"
#include "node/observe/tf_record.h"
#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

constexpr uint64_t kMaxBytes = 1 << 20;

void SameTensors(const std::vector<NamedTensor>& got, const std::vector<NamedTensor>& want, absl::string_view what) {
  FuzzCheck(got.size() == want.size(), what);
  for (size_t i = 0; i < got.size(); ++i) {
    FuzzCheck(got[i].name == want[i].name && SameTensor(got[i].tensor, want[i].tensor), what);
  }
}

/// What was read of a log, written and read again, is the same.
void RoundTrip(const PredictionLogView& log, std::vector<NamedTensor> inputs, const PredictAnswer& answer) {
  PredictionRecord record;
  record.model = "m";
  record.version = answer.version;
  record.inputs = std::move(inputs);
  record.outputs = answer.outputs;
  record.start = log.start == absl::InfinitePast() ? absl::UnixEpoch() : log.start;
  record.latency = std::clamp(log.latency, absl::ZeroDuration(), absl::Hours(1));
  const auto written = EncodePredictionLog(record);
  if (absl::IsUnimplemented(written.status())) return;
  FuzzCheckOk(written.status(), "what was read can be written");
  const FuzzOrigin exact(*written);
  const auto again = ReadPredictionLog(exact.bytes());
  FuzzCheckOk(again.status(), "what was written is read");
  FuzzCheck(again->start == record.start && again->latency == record.latency, "the times are the same");
  const auto request = ReadPredictRequest(again->request);
  FuzzCheckOk(request.status(), "the request is read again");
  const auto inputs_again = ReadPredictInputs(*request, nullptr, 64 * kMaxBytes);
  FuzzCheckOk(inputs_again.status(), "the inputs are read again");
  SameTensors(*inputs_again, record.inputs, "the inputs are the same");
  const auto answer_again = ReadPredictResponse(again->response, nullptr, 64 * kMaxBytes);
  FuzzCheckOk(answer_again.status(), "the answer is read again");
  SameTensors(answer_again->outputs, record.outputs, "the outputs are the same");
}

void ReadLog(absl::string_view record) {
  const auto origin = MakeRef<FuzzOrigin>(record);
  const auto log = ReadPredictionLog(origin->bytes());
  if (!log.ok()) return;
  const auto answer = ReadPredictResponse(log->response, origin, kMaxBytes);
  if (answer.ok()) {
    for (size_t i = 0; i + 1 < answer->outputs.size(); ++i) {
      FuzzCheck(answer->outputs[i].name < answer->outputs[i + 1].name, "outputs are sorted, each once");
    }
  }
  const auto request = ReadPredictRequest(log->request);
  if (!request.ok()) return;
  auto inputs = ReadPredictInputs(*request, origin, kMaxBytes);
  if (inputs.ok() && answer.ok()) RoundTrip(*log, *std::move(inputs), *answer);
}

/// Input: a byte, and, where it is even, a TFRecord file; else one record, whose checksums are put around it.
void FuzzOne(absl::string_view input) {
  const bool framed = TakeByte(&input) % 2 == 0;
  std::string file(input);
  if (!framed) {
    file.clear();
    AppendTfRecord(input, &file);
  }
  const FuzzOrigin exact(file);
  TfRecordReader reader(exact.bytes());
  size_t records = 0;
  while (true) {
    const size_t before = reader.at();
    const auto record = reader.Next();
    if (!record.ok()) {
      FuzzCheck(framed, "what was written is whole");
      FuzzCheck(reader.at() == before, "an error moves nothing");
      return;
    }
    if (!record->has_value()) break;
    FuzzCheck(reader.at() == before + (*record)->size() + kTfRecordFrameBytes, "records follow each other");
    ++records;
    ReadLog(**record);
  }
  FuzzCheck(reader.at() == file.size(), "all is read");
  FuzzCheck(framed || records == 1, "one record was written");
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
