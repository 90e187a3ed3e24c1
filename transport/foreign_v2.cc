#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/wire.h"
#include "codec/v2_dtype.h"
#include "codec/v2_tensor.h"
#include "transport/foreign_api.h"

namespace portico {
namespace {

struct Output {
  V2InputHead head;
  absl::string_view contents;
};

absl::Status Malformed() { return absl::InternalError("the server's response: got no ModelInferResponse, want one"); }

absl::Status ReadOutput(absl::string_view bytes, Output* output) {
  absl::string_view datatype;
  output->head.kind = "output";
  WireReader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case 1:
        output->head.name = in.Bytes();
        break;
      case 2:
        datatype = in.Bytes();
        break;
      case 3:
        RETURN_IF_ERROR(ReadV2Shape(&in, &output->head.shape));
        break;
      case 5:
        output->contents = in.Bytes();
        break;
      default:
        break;
    }
  }
  if (in.failed()) return Malformed();
  ASSIGN_OR_RETURN(output->head.dtype, DTypeFromV2(datatype));
  return absl::OkStatus();
}

/// The Open Inference Protocol: ModelInfer, ModelReady and ServerReady.
class V2ForeignApi final : public ForeignApi {
 public:
  absl::StatusOr<ForeignRequest> MakeCall(const PeerHeader& header, absl::Span<const Tensor> tensors) const override {
    RETURN_IF_ERROR(CheckForeignCall(header, tensors));
    RETURN_IF_ERROR(CheckNoSignature(header));
    ForeignRequest request;
    request.method = "/inference.GRPCInferenceService/ModelInfer";
    WireWriter out(&request.body.bytes);
    out.Bytes(1, header.servable);
    if (header.version >= 0) out.Bytes(2, absl::StrCat(header.version));
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (V2TypeName(tensors[i].dtype()).empty()) {
        return absl::UnimplementedError(absl::StrCat("input '", header.tensors[i].name, "': got ",
                                                     DTypeName(tensors[i].dtype()),
                                                     ", which the Open Inference Protocol has no datatype for"));
      }
      AppendV2Head(5, header.tensors[i].name, tensors[i], &request.body.bytes);
    }
    for (const Tensor& tensor : tensors) {
      out.BytesHeader(7, V2RawSize(tensor));
      AppendV2Raw(tensor, &request.body);
    }
    return request;
  }

  absl::Status ReadReply(const ReceivedMessage& message, absl::Span<const WantedOutput>, const PeerLimits& limits,
                         PeerMessage* reply) const override {
    absl::InlinedVector<Output, 4> outputs;
    absl::InlinedVector<absl::string_view, 4> raw;
    WireReader in(message.bytes);
    while (in.Next()) {
      if (in.field() == 5 && outputs.size() <= limits.max_tensors) {
        Output& output = outputs.emplace_back();
        if (absl::Status status = ReadOutput(in.Bytes(), &output); !status.ok()) {
          return absl::InternalError(absl::StrCat("the server's output '", output.head.name, "': ", status.message()));
        }
      } else if (in.field() == 6 && raw.size() <= limits.max_tensors) {
        raw.push_back(in.Bytes());
      }
    }
    if (in.failed()) return Malformed();
    if (!raw.empty() && raw.size() != outputs.size()) {
      return absl::InternalError(absl::StrCat("the server's response: got ", raw.size(), " raw_output_contents, want ",
                                              outputs.size(), ", one for each output"));
    }
    uint64_t left = limits.max_message_bytes;
    for (size_t i = 0; i < outputs.size(); ++i) {
      const Output& output = outputs[i];
      RETURN_IF_ERROR(AddForeignOutput(output.head.name,
                                       raw.empty() ? ReadV2Contents(output.head, output.contents, left)
                                                   : ReadV2Raw(output.head, raw[i], message.origin, left),
                                       limits, reply));
      left -= std::min<uint64_t>(left, reply->tensors.back().bytes().size());
    }
    return absl::OkStatus();
  }

  ForeignRequest MakeProbe(const std::string& model, int64_t version) const override {
    ForeignRequest request;
    request.method =
        model.empty() ? "/inference.GRPCInferenceService/ServerReady" : "/inference.GRPCInferenceService/ModelReady";
    if (!model.empty()) WireWriter(&request.body.bytes).Bytes(1, model);
    if (version >= 0) WireWriter(&request.body.bytes).Bytes(2, absl::StrCat(version));
    return request;
  }

  absl::StatusOr<int64_t> ReadProbe(const std::string& model,
                                    const absl::StatusOr<ReceivedMessage>& answer) const override {
    if (!answer.ok()) {
      if (answer.status().code() == absl::StatusCode::kUnimplemented) return 0;
      return answer.status();
    }
    bool ready = false;
    WireReader in(answer->bytes);
    while (in.Next()) {
      if (in.field() == 1) ready = in.Bool();
    }
    if (!in.failed() && ready) return 0;
    return absl::UnavailableError(model.empty() ? "the server says that it is not ready"
                                                : absl::StrCat("model '", model, "': the server says: not ready"));
  }
};

}  // namespace

std::unique_ptr<ForeignApi> NewV2ForeignApi() { return std::make_unique<V2ForeignApi>(); }

}  // namespace portico
