#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/json_string.h"
#include "base/status_macros.h"
#include "codec/json_elements.h"
#include "codec/json_walk.h"
#include "transport/foreign_api.h"

namespace portico {
namespace {

namespace ondemand = simdjson::ondemand;

absl::Status Malformed(const absl::Status& status) {
  return absl::InternalError(absl::StrCat("the server's response: ", status.message()));
}

absl::Status AppendInput(absl::string_view name, const Tensor& tensor, std::string* out) {
  JsonBytes bytes = JsonBytes::kText;
  const absl::Status text = CheckJsonTensor("input", name, tensor, bytes, "");
  if (absl::IsFailedPrecondition(text)) {
    bytes = JsonBytes::kBase64;
  } else if (!text.ok()) {
    return text;
  }
  AppendJsonString(name, out);
  out->push_back(':');
  uint64_t next = 0;
  AppendJsonLists(tensor, 0, bytes, &next, out);
  return absl::OkStatus();
}

/// Reads what a response says under `outputs`. It names no dtypes: those that the portal declares count.
class OutputsReader {
 public:
  explicit OutputsReader(absl::Span<const WantedOutput> wanted) : wanted_(wanted) {}

  absl::Status Read(ondemand::value value) {
    const std::string_view token = value.raw_json_token();
    if (!IsNamedJson(token.data())) {
      // A signature with one output: its value alone.
      if (wanted_.size() == 1) return ReadOne(wanted_[0], value);
      return absl::InvalidArgumentError(
          absl::StrCat("got one output without a name, want the portal's ", wanted_.size()));
    }
    return ReadJsonObject("'outputs'", value, [&](absl::string_view key, ondemand::value inner) -> absl::Status {
      const auto wanted = absl::c_find_if(wanted_, [&](const WantedOutput& one) { return one.name == key; });
      return wanted == wanted_.end() ? absl::OkStatus() : ReadOne(*wanted, inner);
    });
  }

  std::vector<NamedTensor> Take() { return std::move(outputs_); }

 private:
  absl::Status ReadOne(const WantedOutput& wanted, ondemand::value value) {
    if (JsonKindOf(wanted.dtype) == JsonKind::kUnsupported) {
      return absl::InvalidArgumentError(absl::StrCat("output '", wanted.name, "': the portal wants ",
                                                     DTypeName(wanted.dtype),
                                                     ", which JSON has no form for; use tfs+grpc"));
    }
    if (absl::c_any_of(outputs_, [&](const NamedTensor& read) { return read.name == wanted.name; })) {
      return RepeatedJsonKey(wanted.name);
    }
    JsonTensorBuilder builder(wanted.name, wanted.dtype, wanted.shape);
    RETURN_IF_ERROR(ReadJsonTensor(value, 0, &builder));
    ASSIGN_OR_RETURN(Tensor tensor, builder.Finish());
    outputs_.push_back({wanted.name, std::move(tensor)});
    return absl::OkStatus();
  }

  const absl::Span<const WantedOutput> wanted_;
  std::vector<NamedTensor> outputs_;
};

absl::Status ReadVersionStatus(ondemand::value value, int64_t* newest) {
  std::string version, state;
  RETURN_IF_ERROR(ReadJsonObject("a version's status", value, [&](absl::string_view key, ondemand::value inner) {
    if (key == "version") return ReadJsonText(key, inner, &version);
    return key == "state" ? ReadJsonText(key, inner, &state) : absl::OkStatus();
  }));
  int64_t number = 0;
  if (!absl::SimpleAtoi(version, &number) || number < 0) return WrongJson("'version'", "a number");
  if (state == "AVAILABLE") *newest = std::max(*newest, number);
  return absl::OkStatus();
}

/// The TensorFlow Serving API over REST: predict in column format, and model status.
class TfsRestApi final : public ForeignApi {
 public:
  absl::StatusOr<ForeignRequest> MakeCall(const PeerHeader& header, absl::Span<const Tensor> tensors) const override {
    RETURN_IF_ERROR(CheckForeignCall(header, tensors));
    ForeignRequest request;
    request.target = absl::StrCat(ForeignModelPath("/v1/models", header.servable, header.version), ":predict");
    std::string& json = request.body.bytes;
    json = "{";
    if (!header.signature.empty()) {
      json.append("\"signature_name\":");
      AppendJsonString(header.signature, &json);
      json.push_back(',');
    }
    json.append("\"inputs\":{");
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (i != 0) json.push_back(',');
      RETURN_IF_ERROR(AppendInput(header.tensors[i].name, tensors[i], &json));
    }
    json.append("}}");
    request.wanted.assign(header.wanted.begin(), header.wanted.end());
    return request;
  }

  absl::Status ReadReply(const ReceivedMessage& message, absl::Span<const WantedOutput> wanted,
                         const PeerLimits& limits, PeerMessage* reply) const override {
    OutputsReader outputs(wanted);
    bool found = false;
    const absl::Status read =
        ReadJsonBody(message.bytes, [&](absl::string_view key, ondemand::value value) -> absl::Status {
          if (key != "outputs") return absl::OkStatus();
          if (std::exchange(found, true)) return RepeatedJsonKey(key);
          return outputs.Read(value);
        });
    if (!read.ok()) return Malformed(read);
    if (!found) return Malformed(absl::InvalidArgumentError("got no 'outputs', want them"));
    return AddForeignOutputs(outputs.Take(), limits, reply);
  }

  ForeignRequest MakeProbe(const std::string& model, int64_t version) const override {
    ForeignRequest request;
    request.target = ForeignModelPath("/v1/models", model.empty() ? "portico" : model, version);
    return request;
  }

  absl::StatusOr<int64_t> ReadProbe(const std::string& model,
                                    const absl::StatusOr<ReceivedMessage>& answer) const override {
    if (!answer.ok()) return ReadTfsProbeError(model, answer.status());
    int64_t newest = -1;
    const absl::Status read =
        ReadJsonBody(answer->bytes, [&](absl::string_view key, ondemand::value value) -> absl::Status {
          if (key != "model_version_status") return absl::OkStatus();
          return ReadJsonList(key, value,
                              [&](size_t, ondemand::value status) { return ReadVersionStatus(status, &newest); });
        });
    if (!read.ok()) return Malformed(read);
    return ReadTfsProbeVersion(model, newest);
  }
};

}  // namespace

std::unique_ptr<ForeignApi> NewTfsRestApi() { return std::make_unique<TfsRestApi>(); }

}  // namespace portico
