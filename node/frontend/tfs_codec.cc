#include "node/frontend/tfs_codec.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "base/wire.h"
#include "codec/tensor_proto.h"

namespace portico {
namespace {

/// Far above any model's; keeps the search for repeated names short.
constexpr size_t kMaxNames = 1024;

absl::Status Malformed() { return absl::InvalidArgumentError("PredictRequest: malformed protobuf"); }

absl::Status TooManyNames(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("PredictRequest: got over ", kMaxNames, " ", what, ", want at most that"));
}

bool ReadInput(absl::string_view entry, PredictRequestView::Input* input) {
  WireReader in(entry);
  while (in.Next()) {
    if (in.field() == 1)
      input->name = in.Bytes();
    else if (in.field() == 2)
      input->tensor = in.Bytes();
  }
  return !in.failed();
}

std::string NamesOf(const std::vector<TensorSpec>& specs) {
  return absl::StrJoin(specs, ",", [](std::string* out, const TensorSpec& spec) { out->append(spec.name); });
}

}  // namespace

bool ReadModelSpec(absl::string_view bytes, ModelSpecView* spec) {
  WireReader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case 1:
        spec->name = in.Bytes();
        break;
      case 2: {  // google.protobuf.Int64Value; one of version and label is set, the last counts
        WireReader value(in.Bytes());
        spec->has_version = true;
        spec->version = 0;
        spec->label = {};
        while (value.Next()) {
          if (value.field() == 1) spec->version = value.Int();
        }
        if (value.failed()) return false;
        break;
      }
      case 3:
        spec->signature = in.Bytes();
        break;
      case 4:
        spec->label = in.Bytes();
        spec->has_version = false;
        break;
      default:
        break;
    }
  }
  return !in.failed();
}

void AppendModelSpec(uint32_t field, absl::string_view model, int64_t version, absl::string_view signature,
                     std::string* out) {
  std::string spec;
  WireWriter fields(&spec);
  fields.Bytes(1, model);
  const auto number = static_cast<uint64_t>(version);
  fields.BytesHeader(2, version == 0 ? 0 : 1 + WireWriter::VarintSize(number));
  if (version != 0) fields.Varint(1, number);
  fields.Bytes(3, signature);
  WireWriter(out).Bytes(field, spec);
}

absl::StatusOr<ServableRef> RefOfModelSpec(bool has_spec, const ModelSpecView& spec) {
  if (!has_spec) return absl::InvalidArgumentError("Missing ModelSpec");
  if (spec.name.empty()) return absl::InvalidArgumentError("ModelSpec has no name specified.");
  if (spec.has_version && spec.version < 0) {
    return absl::NotFoundError(
        absl::StrCat("Servable not found for request: Specific(", spec.name, ", ", spec.version, ")"));
  }
  ServableRef ref;
  ref.name = std::string(spec.name);
  if (spec.has_version) ref.version = spec.version;
  ref.label = std::string(spec.label);
  return ref;
}

absl::StatusOr<PredictRequestView> ReadPredictRequest(absl::string_view message) {
  PredictRequestView request;
  WireReader in(message);
  while (in.Next()) {
    switch (in.field()) {
      case 1:
        request.has_spec = true;
        if (!ReadModelSpec(in.Bytes(), &request.spec)) return Malformed();
        break;
      case 2: {
        PredictRequestView::Input input;
        if (!ReadInput(in.Bytes(), &input)) return Malformed();
        const auto same = std::find_if(request.inputs.begin(), request.inputs.end(),
                                       [&](const auto& other) { return other.name == input.name; });
        if (same != request.inputs.end())
          *same = input;
        else if (request.inputs.size() == kMaxNames)
          return TooManyNames("inputs");
        else
          request.inputs.push_back(input);
        break;
      }
      case 3:
        if (request.output_filter.size() == kMaxNames) return TooManyNames("output filters");
        request.output_filter.push_back(in.Bytes());
        break;
      default:
        break;
    }
  }
  if (in.failed()) return Malformed();
  return request;
}

absl::StatusOr<std::vector<NamedTensor>> ReadPredictInputs(const PredictRequestView& request,
                                                           const Ref<TensorOrigin>& origin, uint64_t max_bytes) {
  std::vector<NamedTensor> inputs;
  inputs.reserve(request.inputs.size());
  for (const PredictRequestView::Input& input : request.inputs) {
    absl::StatusOr<Tensor> tensor = ReadTensorProto(input.tensor, origin, max_bytes);
    if (!tensor.ok()) return WithContext(absl::StrCat("tensor parsing error: ", input.name), tensor.status());
    max_bytes -= std::min<uint64_t>(max_bytes, tensor->bytes().size());
    inputs.push_back({std::string(input.name), *std::move(tensor)});
  }
  return inputs;
}

absl::StatusOr<absl::InlinedVector<int, 8>> SelectOutputs(const Signature& signature,
                                                          absl::Span<const absl::string_view> filter) {
  absl::InlinedVector<int, 8> selected;
  if (filter.empty()) {
    for (size_t i = 0; i < signature.outputs.size(); ++i) selected.push_back(static_cast<int>(i));
    return selected;
  }
  for (const absl::string_view name : filter) {
    const int index = signature.OutputIndex(name);
    if (index < 0) {
      return absl::InvalidArgumentError(absl::StrCat("output tensor alias not found in signature: ", name,
                                                     " Outputs expected to be in the set {", NamesOf(signature.outputs),
                                                     "}."));
    }
    if (absl::c_linear_search(selected, index)) {
      return absl::InvalidArgumentError(absl::StrCat("duplicate output tensor alias: ", name));
    }
    selected.push_back(index);
  }
  return selected;
}

absl::StatusOr<SplicedMessage> WritePredictResponse(absl::string_view model, int64_t version,
                                                    const Signature& signature, absl::Span<const int> selected,
                                                    absl::Span<const Tensor> outputs) {
  SplicedMessage message;
  for (const int index : selected) {
    const std::string& name = signature.outputs[static_cast<size_t>(index)].name;
    const absl::Status status = AppendNamedTensorProto(1, name, outputs[static_cast<size_t>(index)], &message);
    if (!status.ok()) return WithContext(absl::StrCat("output '", name, "'"), status);
  }
  AppendModelSpec(2, model, version, signature.name, &message.bytes);
  return message;
}

}  // namespace portico
