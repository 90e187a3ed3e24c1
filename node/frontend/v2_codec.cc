#include "node/frontend/v2_codec.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/wire.h"
#include "codec/v2_dtype.h"

namespace portico {
namespace {

/// Far above any model's.
constexpr size_t kMaxNames = 1024;
/// As of a TensorProto.

absl::Status Malformed() { return absl::InvalidArgumentError("ModelInferRequest: malformed protobuf"); }

absl::Status TooMany(absl::string_view what, size_t want) {
  return absl::InvalidArgumentError(
      absl::StrCat("ModelInferRequest: got over ", want, " ", what, ", want at most that"));
}

bool ReadParameterValue(absl::string_view bytes, V2Value* value) {
  WireReader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case 1:
        *value = in.Bool();
        break;
      case 2:
        *value = in.Int();
        break;
      case 3:
        *value = in.Bytes();
        break;
      case 4:
        *value = in.Double();
        break;
      case 5:
        *value = in.Varint();
        break;
      default:
        break;
    }
  }
  return !in.failed();
}

/// An entry of a parameter map, set in `parameters`.
template <typename Parameters>
absl::Status ReadParameter(absl::string_view entry, Parameters* parameters) {
  absl::string_view name;
  V2Value value;
  WireReader in(entry);
  while (in.Next()) {
    if (in.field() == 1)
      name = in.Bytes();
    else if (in.field() == 2 && !ReadParameterValue(in.Bytes(), &value))
      return Malformed();
  }
  if (in.failed()) return Malformed();
  return parameters->Set(name, value);
}

absl::Status ReadInput(absl::string_view bytes, V2InferRequestView::Input* input) {
  absl::string_view datatype;
  size_t parameters = 0;
  WireReader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case 1:
        input->head.name = in.Bytes();
        break;
      case 2:
        datatype = in.Bytes();
        break;
      case 3:
        RETURN_IF_ERROR(ReadV2Shape(&in, &input->head.shape));
        break;
      case 4: {
        if (++parameters > kMaxNames) return TooMany("parameters", kMaxNames);
        V2TensorParameters ignored;  // Sizes and kinds of binary data are of REST alone.
        RETURN_IF_ERROR(ReadParameter(in.Bytes(), &ignored));
        break;
      }
      case 5:
        // protobuf would merge the two; no client sends them.
        if (std::exchange(input->has_contents, true)) return Malformed();
        input->contents = in.Bytes();
        break;
      default:
        break;
    }
  }
  if (in.failed()) return Malformed();
  absl::StatusOr<DType> dtype = DTypeFromV2(datatype);
  if (!dtype.ok()) return WithContext(absl::StrCat("input '", input->head.name, "'"), dtype.status());
  input->head.dtype = *dtype;
  return absl::OkStatus();
}

absl::Status ReadOutput(absl::string_view bytes, absl::string_view* name) {
  size_t parameters = 0;
  WireReader in(bytes);
  while (in.Next()) {
    if (in.field() == 1) {
      *name = in.Bytes();
    } else if (in.field() == 2) {
      if (++parameters > kMaxNames) return TooMany("parameters", kMaxNames);
      V2TensorParameters ignored;
      RETURN_IF_ERROR(ReadParameter(in.Bytes(), &ignored));
    }
  }
  return in.failed() ? Malformed() : absl::OkStatus();
}

}  // namespace

absl::Status ReadV2InferRequest(absl::string_view message, V2InferRequestView* request) {
  size_t parameters = 0;
  absl::Status status;
  WireReader in(message);
  // What is wrong with one field waits until all are read: the id may come later.
  while (in.Next()) {
    switch (in.field()) {
      case 1:
        request->model = in.Bytes();
        break;
      case 2:
        request->version = in.Bytes();
        break;
      case 3:
        request->id = in.Bytes();
        break;
      case 4:
        if (++parameters > kMaxNames) return TooMany("parameters", kMaxNames);
        status.Update(ReadParameter(in.Bytes(), &request->parameters));
        break;
      case 5:
        if (request->inputs.size() == kMaxNames) return TooMany("inputs", kMaxNames);
        status.Update(ReadInput(in.Bytes(), &request->inputs.emplace_back()));
        break;
      case 6:
        if (request->outputs.size() == kMaxNames) return TooMany("outputs", kMaxNames);
        status.Update(ReadOutput(in.Bytes(), &request->outputs.emplace_back()));
        break;
      case 7:
        if (request->raw.size() == kMaxNames) return TooMany("raw_input_contents", kMaxNames);
        request->raw.push_back(in.Bytes());
        break;
      default:
        break;
    }
  }
  if (in.failed()) return Malformed();
  return status;
}

absl::StatusOr<ServableRef> RefOfV2(absl::string_view model, absl::string_view version) {
  if (model.empty()) return absl::InvalidArgumentError("model: got no name, want the name of a model");
  ServableRef ref;
  ref.name = std::string(model);
  if (version.empty()) return ref;
  const bool digits = std::all_of(version.begin(), version.end(), absl::ascii_isdigit);
  if (!digits || !absl::SimpleAtoi(version, &ref.version)) {
    return absl::InvalidArgumentError(absl::StrCat("model '", model, "': got version '", version.substr(0, 64),
                                                   "', want a number, or nothing for the newest"));
  }
  return ref;
}

absl::StatusOr<std::vector<NamedTensor>> ReadV2Inputs(const V2InferRequestView& request,
                                                      const Ref<TensorOrigin>& origin, uint64_t max_bytes) {
  const bool raw = !request.raw.empty();
  if (raw && request.raw.size() != request.inputs.size()) {
    return absl::InvalidArgumentError(absl::StrCat("raw_input_contents: got ", request.raw.size(), " of them, want ",
                                                   request.inputs.size(), ", one for each input"));
  }
  std::vector<NamedTensor> inputs;
  inputs.reserve(request.inputs.size());
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const V2InferRequestView::Input& input = request.inputs[i];
    if (raw && input.has_contents) {
      return absl::InvalidArgumentError(absl::StrCat("input '", input.head.name,
                                                     "': got contents beside raw_input_contents, want one of the two "
                                                     "for all inputs"));
    }
    ASSIGN_OR_RETURN(Tensor tensor, raw ? ReadV2Raw(input.head, request.raw[i], origin, max_bytes)
                                        : ReadV2Contents(input.head, input.contents, max_bytes));
    max_bytes -= std::min<uint64_t>(max_bytes, tensor.bytes().size());
    inputs.push_back({std::string(input.head.name), std::move(tensor)});
  }
  return inputs;
}

absl::StatusOr<SplicedMessage> WriteV2InferResponse(const V2Answer& answer, const Signature& signature,
                                                    absl::Span<const int> selected, absl::Span<const Tensor> outputs) {
  SplicedMessage message;
  WireWriter out(&message.bytes);
  out.Bytes(1, answer.model);
  out.Bytes(2, absl::StrCat(answer.version));
  if (!answer.id.empty()) out.Bytes(3, answer.id);
  for (const auto& [name, text] :
       {std::pair("portico_fallback", answer.fallbacks), std::pair("portico_rows", answer.rows)}) {
    if (text.empty()) continue;
    std::string value, head;
    WireWriter(&value).Bytes(3, text);
    WireWriter entry(&head);
    entry.Bytes(1, name);
    entry.Bytes(2, value);
    out.Bytes(4, head);
  }
  for (const int index : selected) {
    const std::string& name = signature.outputs[static_cast<size_t>(index)].name;
    const Tensor& tensor = outputs[static_cast<size_t>(index)];
    RETURN_IF_ERROR(CheckV2Output(name, tensor.dtype()));
    AppendV2Head(5, name, tensor, &message.bytes);
  }
  for (const int index : selected) {
    const Tensor& tensor = outputs[static_cast<size_t>(index)];
    out.BytesHeader(6, V2RawSize(tensor));
    AppendV2Raw(tensor, &message);
  }
  return message;
}

SplicedMessage WrapV2StreamResponse(SplicedMessage response) {
  uint64_t size = response.bytes.size();
  for (const SplicedMessage::Splice& splice : response.splices) size += splice.tensor.bytes().size();
  std::string head;
  WireWriter(&head).BytesHeader(2, size);
  response.bytes.insert(0, head);
  for (SplicedMessage::Splice& splice : response.splices) splice.at += head.size();
  return response;
}

SplicedMessage WriteV2StreamError(const absl::Status& status, absl::string_view id) {
  SplicedMessage message;
  WireWriter out(&message.bytes);
  out.Bytes(1, status.message().empty() ? absl::StatusCodeToString(status.code()) : std::string(status.message()));
  if (!id.empty()) {
    std::string response;
    WireWriter(&response).Bytes(3, id);
    out.Bytes(2, response);
  }
  return message;
}

}  // namespace portico
