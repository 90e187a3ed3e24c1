#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "codec/json_walk.h"
#include "codec/v2_dtype.h"
#include "codec/v2_json_tensors.h"
#include "codec/v2_json_writer.h"
#include "codec/v2_tensor.h"
#include "transport/foreign_api.h"

namespace portico {
namespace {

namespace ondemand = simdjson::ondemand;

absl::Status Malformed(const absl::Status& status) {
  return absl::InternalError(absl::StrCat("the server's response: ", status.message()));
}

absl::Status ReadParameter(absl::string_view key, const V2Value& value, V2JsonTensor* output) {
  if (key != "binary_data_size") return absl::OkStatus();
  if (const auto* size = std::get_if<int64_t>(&value); size != nullptr && *size >= 0) {
    output->binary_data_size = static_cast<uint64_t>(*size);
    return absl::OkStatus();
  }
  return WrongJson("'binary_data_size'", "a whole number that is not negative");
}

absl::Status ReadOutputs(absl::string_view json, V2JsonTensors* outputs) {
  return ReadJsonHead(json, [&](ondemand::document& document) -> absl::Status {
    ondemand::value whole;
    RETURN_IF_JSON_ERROR(document.get_value().get(whole));
    bool found = false;
    RETURN_IF_ERROR(ReadJsonObject("JSON body", whole, [&](absl::string_view key, ondemand::value value) {
      if (key != "outputs") return absl::OkStatus();
      if (std::exchange(found, true)) return RepeatedJsonKey(key);
      return outputs->Read(value, ReadParameter);
    }));
    if (!found) return absl::InvalidArgumentError("got no 'outputs', want a list of them");
    return outputs->ReadLate(document, "outputs");
  });
}

/// The Open Inference Protocol over REST, with its binary data where the server has them: each request asks for binary
/// outputs; from the first answer that has some on, inputs are sent so, too. JSON else.
class V2RestApi final : public ForeignApi {
 public:
  absl::StatusOr<ForeignRequest> MakeCall(const PeerHeader& header, absl::Span<const Tensor> tensors) const override {
    RETURN_IF_ERROR(CheckForeignCall(header, tensors));
    RETURN_IF_ERROR(CheckNoSignature(header));
    const bool binary = binary_.load(std::memory_order_relaxed);
    ForeignRequest request;
    request.target = absl::StrCat(ForeignModelPath("/v2/models", header.servable, header.version), "/infer");
    std::string& json = request.body.bytes;
    json = "{\"parameters\":{\"binary_data_output\":true},\"inputs\":[";
    for (size_t i = 0; i < tensors.size(); ++i) {
      const absl::string_view name = header.tensors[i].name;
      RETURN_IF_ERROR(CheckV2Input(name, tensors[i].dtype()));
      if (i != 0) json.push_back(',');
      RETURN_IF_ERROR(AppendV2JsonTensor("input", name, tensors[i], binary, "use v2+grpc", &json));
    }
    json.append("]}");
    if (!binary) return request;
    request.json_bytes = json.size();
    for (const Tensor& tensor : tensors) AppendV2Raw(tensor, &request.body);
    return request;
  }

  absl::Status ReadReply(const ReceivedMessage& message, absl::Span<const WantedOutput>, const PeerLimits& limits,
                         PeerMessage* reply) const override {
    if (message.json_bytes > message.bytes.size()) {
      return absl::InternalError(absl::StrCat("the server's response: got ", message.bytes.size(), " bytes, want ",
                                              message.json_bytes, " of JSON, as its header says"));
    }
    const bool has_binary = message.json_bytes != 0;
    if (has_binary) binary_.store(true, std::memory_order_relaxed);
    const absl::string_view json = has_binary ? message.bytes.substr(0, message.json_bytes) : message.bytes;
    V2JsonTensors outputs("output");
    if (const absl::Status status = ReadOutputs(json, &outputs); !status.ok()) return Malformed(status);
    absl::StatusOr<std::vector<NamedTensor>> taken =
        outputs.Take(message.bytes.substr(json.size()), message.origin, limits.max_message_bytes);
    if (!taken.ok()) return Malformed(taken.status());
    return AddForeignOutputs(*std::move(taken), limits, reply);
  }

  void OnError(const absl::Status& status) const override {
    // Perhaps another server has come that takes JSON alone.
    if (status.code() == absl::StatusCode::kInvalidArgument || status.code() == absl::StatusCode::kInternal) {
      binary_.store(false, std::memory_order_relaxed);
    }
  }

  ForeignRequest MakeProbe(const std::string& model, int64_t version) const override {
    ForeignRequest request;
    request.target =
        model.empty() ? "/v2/health/ready" : absl::StrCat(ForeignModelPath("/v2/models", model, version), "/ready");
    return request;
  }

  absl::StatusOr<int64_t> ReadProbe(const std::string& model,
                                    const absl::StatusOr<ReceivedMessage>& answer) const override {
    if (answer.ok() || answer.status().code() == absl::StatusCode::kUnimplemented) return 0;
    return answer.status();
  }

 private:
  static absl::Status CheckV2Input(absl::string_view name, DType dtype) {
    if (!V2TypeName(dtype).empty()) return absl::OkStatus();
    return absl::UnimplementedError(absl::StrCat("input '", name, "': got ", DTypeName(dtype),
                                                 ", which the Open Inference Protocol has no datatype for"));
  }

  /// The server speaks binary data.
  mutable std::atomic<bool> binary_{false};
};

}  // namespace

std::unique_ptr<ForeignApi> NewV2RestApi() { return std::make_unique<V2RestApi>(); }

}  // namespace portico
