#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/wire.h"
#include "codec/tensor_proto.h"
#include "transport/foreign_api.h"

namespace portico {
namespace {

/// ModelVersionStatus.State.
constexpr uint64_t kAvailable = 30;

std::string ModelSpec(absl::string_view name, int64_t version, absl::string_view signature) {
  std::string spec;
  WireWriter out(&spec);
  out.Bytes(1, name);
  if (version >= 0) {
    std::string number;
    if (version > 0) WireWriter(&number).Int(1, version);
    out.Bytes(2, number);
  }
  if (!signature.empty()) out.Bytes(3, signature);
  return spec;
}

absl::Status Malformed(absl::string_view message) {
  return absl::InternalError(absl::StrCat("the server's response: got no ", message, ", want one"));
}

/// The TensorFlow Serving API: PredictionService.Predict and ModelService.GetModelStatus.
class TfsForeignApi final : public ForeignApi {
 public:
  absl::StatusOr<ForeignRequest> MakeCall(const PeerHeader& header, absl::Span<const Tensor> tensors) const override {
    RETURN_IF_ERROR(CheckForeignCall(header, tensors));
    ForeignRequest request;
    request.method = "/tensorflow.serving.PredictionService/Predict";
    WireWriter(&request.body.bytes).Bytes(1, ModelSpec(header.servable, header.version, header.signature));
    for (size_t i = 0; i < tensors.size(); ++i) {
      const absl::string_view name = header.tensors[i].name;
      const absl::Status status = AppendNamedTensorProto(2, name, tensors[i], &request.body);
      if (!status.ok()) return WithContext(absl::StrCat("input '", name, "'"), status);
    }
    return request;
  }

  absl::Status ReadReply(const ReceivedMessage& message, absl::Span<const WantedOutput>, const PeerLimits& limits,
                         PeerMessage* reply) const override {
    uint64_t left = limits.max_message_bytes;
    WireReader in(message.bytes);
    while (in.Next()) {
      if (in.field() != 1) continue;
      absl::string_view name, proto;
      WireReader entry(in.Bytes());
      while (entry.Next()) {
        if (entry.field() == 1) {
          name = entry.Bytes();
        } else if (entry.field() == 2) {
          proto = entry.Bytes();
        }
      }
      if (entry.failed()) return Malformed("PredictResponse");
      RETURN_IF_ERROR(AddForeignOutput(name, ReadTensorProto(proto, message.origin, left), limits, reply));
      left -= std::min<uint64_t>(left, reply->tensors.back().bytes().size());
    }
    return in.failed() ? Malformed("PredictResponse") : absl::OkStatus();
  }

  ForeignRequest MakeProbe(const std::string& model, int64_t version) const override {
    ForeignRequest request;
    request.method = "/tensorflow.serving.ModelService/GetModelStatus";
    WireWriter(&request.body.bytes).Bytes(1, ModelSpec(model, version, ""));
    return request;
  }

  absl::StatusOr<int64_t> ReadProbe(const std::string& model,
                                    const absl::StatusOr<ReceivedMessage>& answer) const override {
    if (!answer.ok()) return ReadTfsProbeError(model, answer.status());
    int64_t newest = -1;
    WireReader in(answer->bytes);
    while (in.Next()) {
      if (in.field() != 1) continue;
      int64_t version = 0;
      uint64_t state = 0;
      WireReader status(in.Bytes());
      while (status.Next()) {
        if (status.field() == 1) {
          version = status.Int();
        } else if (status.field() == 2) {
          state = status.Varint();
        }
      }
      if (status.failed()) return Malformed("GetModelStatusResponse");
      if (state == kAvailable) newest = std::max(newest, version);
    }
    if (in.failed()) return Malformed("GetModelStatusResponse");
    return ReadTfsProbeVersion(model, newest);
  }
};

}  // namespace

std::unique_ptr<ForeignApi> NewTfsForeignApi() { return std::make_unique<TfsForeignApi>(); }

}  // namespace portico
