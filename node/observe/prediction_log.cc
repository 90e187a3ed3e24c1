#include "node/observe/prediction_log.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/wire.h"
#include "codec/tensor_proto.h"
#include "node/frontend/tfs_codec.h"

namespace portico {
namespace {

/// Of PredictionLog.
constexpr uint32_t kLogMetadata = 1;
constexpr uint32_t kPredictLog = 6;
/// Of PredictLog.
constexpr uint32_t kRequest = 1;
constexpr uint32_t kResponse = 2;
/// Of LogMetadata: its own field, and Portico's, among the numbers that are left to extensions.
constexpr uint32_t kModelSpec = 1;
constexpr uint32_t kPortico = 50100;
/// Of Portico's.
constexpr uint32_t kStart = 1;
constexpr uint32_t kLatency = 2;
constexpr uint32_t kCode = 3;
constexpr uint32_t kMessage = 4;

/// Far above any model's.
constexpr size_t kMaxOutputs = 1024;
/// What an error is kept of.
constexpr size_t kMaxMessageBytes = 4096;

/// Tag, length and bytes of a field below 16.
uint64_t FieldSize(uint64_t length) { return 1 + WireWriter::VarintSize(length) + length; }

/// Tensors of a map, encoded as far as that needs no copy of their bytes.
class EncodedMap {
 public:
  absl::Status Add(const NamedTensor& named) {
    absl::StatusOr<EncodedTensor> tensor = EncodeTensorProto(named.tensor);
    if (!tensor.ok()) return WithContext(absl::StrCat("tensor '", named.name, "'"), tensor.status());
    const uint64_t entry = FieldSize(named.name.size()) + FieldSize(tensor->size());
    size_ += FieldSize(entry);
    entries_.push_back({&named.name, *std::move(tensor), entry});
    return absl::OkStatus();
  }
  absl::Status AddAll(const std::vector<NamedTensor>& tensors) {
    for (const NamedTensor& named : tensors) RETURN_IF_ERROR(Add(named));
    return absl::OkStatus();
  }
  uint64_t size() const { return size_; }
  /// As field `field`.
  void AppendTo(uint32_t field, std::string* out) const {
    WireWriter writer(out);
    for (const Entry& entry : entries_) {
      writer.BytesHeader(field, entry.size);
      writer.Bytes(1, *entry.name);
      writer.BytesHeader(2, entry.tensor.size());
      out->append(entry.tensor.head);
      const absl::string_view content = entry.tensor.content.bytes();
      out->append(content.data(), content.size());
    }
  }

 private:
  struct Entry {
    const std::string* name;
    EncodedTensor tensor;
    uint64_t size;
  };
  std::vector<Entry> entries_;
  uint64_t size_ = 0;
};

std::string MetadataOf(const PredictionRecord& record) {
  std::string own, metadata;
  WireWriter fields(&own);
  fields.Int(kStart, absl::ToUnixMicros(record.start));
  fields.Int(kLatency, std::max<int64_t>(0, absl::ToInt64Microseconds(record.latency)));
  if (!record.status.ok()) {
    fields.Int(kCode, static_cast<int>(record.status.code()));
    fields.Bytes(kMessage, record.status.message().substr(0, kMaxMessageBytes));
  }
  AppendModelSpec(kModelSpec, record.model, record.version, record.signature, &metadata);
  WireWriter(&metadata).Bytes(kPortico, own);
  return metadata;
}

/// The ModelSpec of a request for whichever version serves.
std::string RequestSpecOf(const PredictionRecord& record) {
  std::string spec, out;
  WireWriter fields(&spec);
  fields.Bytes(1, record.model);
  fields.Bytes(3, record.signature);
  WireWriter(&out).Bytes(1, spec);
  return out;
}

bool ReadPorticoField(absl::string_view bytes, PredictionLogView* view) {
  WireReader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case kStart:
        view->start = absl::FromUnixMicros(in.Int());
        break;
      case kLatency:
        view->latency = absl::Microseconds(in.Int());
        break;
      case kCode:
        view->code = static_cast<absl::StatusCode>(std::clamp<int64_t>(in.Int(), 0, 16));
        break;
      case kMessage:
        view->message = in.Bytes();
        break;
      default:
        break;
    }
  }
  return !in.failed();
}

bool ReadMetadata(absl::string_view bytes, PredictionLogView* view) {
  WireReader in(bytes);
  while (in.Next()) {
    if (in.field() == kPortico && !ReadPorticoField(in.Bytes(), view)) return false;
  }
  return !in.failed();
}

bool ReadPredictLog(absl::string_view bytes, PredictionLogView* view) {
  WireReader in(bytes);
  while (in.Next()) {
    if (in.field() == kRequest) {
      view->has_request = true;
      view->request = in.Bytes();
    } else if (in.field() == kResponse) {
      view->has_response = true;
      view->response = in.Bytes();
    }
  }
  return !in.failed();
}

absl::Status MalformedResponse() { return absl::InvalidArgumentError("PredictResponse: malformed protobuf"); }

}  // namespace

absl::StatusOr<std::string> EncodePredictionLog(const PredictionRecord& record) {
  EncodedMap inputs, outputs;
  RETURN_IF_ERROR(inputs.AddAll(record.inputs));
  RETURN_IF_ERROR(outputs.AddAll(record.outputs));
  const std::string metadata = MetadataOf(record);
  const std::string request_spec = RequestSpecOf(record);
  std::string response_spec;
  AppendModelSpec(2, record.model, record.version, record.signature, &response_spec);
  const uint64_t request = request_spec.size() + inputs.size();
  const uint64_t response = outputs.size() + response_spec.size();
  const uint64_t predict_log = FieldSize(request) + (record.status.ok() ? FieldSize(response) : 0);

  std::string log;
  log.reserve(FieldSize(metadata.size()) + FieldSize(predict_log));
  WireWriter out(&log);
  out.Bytes(kLogMetadata, metadata);
  out.BytesHeader(kPredictLog, predict_log);
  out.BytesHeader(kRequest, request);
  log += request_spec;
  inputs.AppendTo(2, &log);
  if (!record.status.ok()) return log;
  out.BytesHeader(kResponse, response);
  outputs.AppendTo(1, &log);
  log += response_spec;
  return log;
}

absl::StatusOr<PredictionLogView> ReadPredictionLog(absl::string_view record) {
  PredictionLogView view;
  WireReader in(record);
  bool good = true;
  while (good && in.Next()) {
    if (in.field() == kLogMetadata) {
      good = ReadMetadata(in.Bytes(), &view);
    } else if (in.field() == kPredictLog) {
      good = ReadPredictLog(in.Bytes(), &view);
    }
  }
  if (!good || in.failed()) return absl::InvalidArgumentError("PredictionLog: malformed protobuf");
  return view;
}

absl::StatusOr<PredictAnswer> ReadPredictResponse(absl::string_view message, const Ref<TensorOrigin>& origin,
                                                  uint64_t max_bytes) {
  PredictAnswer answer;
  WireReader in(message);
  while (in.Next()) {
    if (in.field() == 1) {
      absl::string_view name, proto;
      WireReader entry(in.Bytes());
      while (entry.Next()) {
        if (entry.field() == 1) name = entry.Bytes();
        if (entry.field() == 2) proto = entry.Bytes();
      }
      if (entry.failed()) return MalformedResponse();
      absl::StatusOr<Tensor> tensor = ReadTensorProto(proto, origin, max_bytes);
      if (!tensor.ok()) return WithContext(absl::StrCat("output '", name, "'"), tensor.status());
      max_bytes -= std::min<uint64_t>(max_bytes, tensor->bytes().size());
      if (answer.outputs.size() == kMaxOutputs) {
        return absl::InvalidArgumentError(
            absl::StrCat("PredictResponse: got over ", kMaxOutputs, " outputs, want at most that"));
      }
      answer.outputs.push_back({std::string(name), *std::move(tensor)});
    } else if (in.field() == 2) {
      ModelSpecView spec;
      if (!ReadModelSpec(in.Bytes(), &spec)) return MalformedResponse();
      answer.version = spec.version;
    }
  }
  if (in.failed()) return MalformedResponse();
  // Of one name the last stays.
  const auto by_name = [](const NamedTensor& a, const NamedTensor& b) { return a.name < b.name; };
  std::stable_sort(answer.outputs.begin(), answer.outputs.end(), by_name);
  for (size_t i = 0; i + 1 < answer.outputs.size();) {
    if (answer.outputs[i].name == answer.outputs[i + 1].name) {
      answer.outputs.erase(answer.outputs.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
  return answer;
}

}  // namespace portico
