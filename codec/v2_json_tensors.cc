#include "codec/v2_json_tensors.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "codec/json_reader.h"
#include "codec/json_walk.h"
#include "codec/v2_dtype.h"
#include "codec/v2_tensor.h"

namespace portico {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr size_t kMaxRank = 254;

absl::Status ReadData(ondemand::value value, V2JsonTensor* out) {
  // The tensor's shape is what `shape` says; the nesting of `data` only has to be even.
  JsonTensorBuilder builder(out->name, out->dtype);
  RETURN_IF_ERROR(ReadJsonTensor(value, 0, &builder));
  ASSIGN_OR_RETURN(out->tensor, builder.Finish());
  return absl::OkStatus();
}

absl::StatusOr<V2Value> ReadParameterValue(ondemand::value value) {
  ondemand::json_type type;
  RETURN_IF_JSON_ERROR(value.type().get(type));
  switch (type) {
    case ondemand::json_type::boolean: {
      bool truth = false;
      RETURN_IF_JSON_ERROR(value.get_bool().get(truth));
      return truth;
    }
    case ondemand::json_type::string: {
      std::string_view text;
      RETURN_IF_JSON_ERROR(value.get_string().get(text));
      return absl::string_view(text.data(), text.size());
    }
    case ondemand::json_type::number: {
      int64_t number = 0;
      if (value.get_int64().get(number) == simdjson::SUCCESS) return number;
      uint64_t large = 0;
      if (value.get_uint64().get(large) == simdjson::SUCCESS) return large;
      double real = 0;
      RETURN_IF_JSON_ERROR(value.get_double().get(real));
      return real;
    }
    default:
      return V2Value();  // null, and what no parameter that is known takes
  }
}

}  // namespace

absl::Status ReadV2JsonParameters(absl::string_view what, ondemand::value value,
                                  absl::FunctionRef<absl::Status(absl::string_view key, const V2Value& value)> set) {
  size_t count = 0;
  return ReadJsonObject(what, value, [&](absl::string_view key, ondemand::value inner) -> absl::Status {
    if (++count > kMaxJsonNames) return TooMuchJson(what, kMaxJsonNames);
    ASSIGN_OR_RETURN(const V2Value parameter, ReadParameterValue(inner));
    return set(key, parameter);
  });
}

std::string V2JsonTensors::Label(const V2JsonTensor& tensor) const {
  return absl::StrCat(kind_, " '", tensor.name, "'");
}

std::string V2JsonTensors::PartOf(absl::string_view key) const { return absl::StrCat("'", key, "' of an ", kind_); }

absl::Status V2JsonTensors::Read(ondemand::value list, OnParameter on_parameter) {
  return ReadJsonList(absl::StrCat("'", kind_, "s'"), list, [&](size_t, ondemand::value inner) {
    return ReadOne(inner, on_parameter, &tensors_.emplace_back());
  });
}

absl::Status V2JsonTensors::ReadOne(ondemand::value value, OnParameter on_parameter, V2JsonTensor* out) {
  return ReadJsonObject(
      absl::StrCat("an ", kind_), value, [&](absl::string_view key, ondemand::value inner) -> absl::Status {
        if (key == "name") {
          if (std::exchange(out->has_name, true)) return RepeatedJsonKey(key);
          return ReadJsonText(PartOf(key), inner, &out->name);
        }
        if (key == "datatype") {
          if (std::exchange(out->has_datatype, true)) return RepeatedJsonKey(key);
          std::string datatype;
          RETURN_IF_ERROR(ReadJsonText(PartOf(key), inner, &datatype));
          ASSIGN_OR_RETURN(out->dtype, DTypeFromV2(datatype));
          return absl::OkStatus();
        }
        if (key == "shape") {
          if (std::exchange(out->has_shape, true)) return RepeatedJsonKey(key);
          return ReadShape(inner, out);
        }
        if (key == "parameters") {
          // Servers write null for none.
          if (inner.raw_json_token() == "null") return absl::OkStatus();
          return ReadV2JsonParameters(PartOf(key), inner, [&](absl::string_view name, const V2Value& parameter) {
            return on_parameter(name, parameter, out);
          });
        }
        if (key != "data") return absl::OkStatus();
        if (std::exchange(out->has_data, true)) return RepeatedJsonKey(key);
        // In front of the datatype: read once that is known.
        return out->has_datatype ? ReadData(inner, out) : absl::OkStatus();
      });
}

absl::Status V2JsonTensors::ReadShape(ondemand::value value, V2JsonTensor* out) const {
  ondemand::array list;
  if (value.get_array().get(list) != simdjson::SUCCESS) return WrongJson(PartOf("shape"), "a list of extents");
  for (simdjson::simdjson_result<ondemand::value> element : list) {
    int64_t extent = 0;
    if (element.get_int64().get(extent) != simdjson::SUCCESS || extent < 0) {
      return WrongJson(PartOf("shape"), "extents that are not negative");
    }
    if (out->shape.size() == kMaxRank) return TooMuchJson(PartOf("shape"), kMaxRank);
    out->shape.push_back(extent);
  }
  return absl::OkStatus();
}

absl::Status V2JsonTensors::ReadLate(ondemand::document& document, const char* key) {
  bool late = false;
  for (const V2JsonTensor& tensor : tensors_) {
    if (!tensor.has_name) return WrongJson(PartOf("name"), "a string");
    if (!tensor.has_datatype) return WrongJson(absl::StrCat("'datatype' of ", Label(tensor)), "one such as FP32");
    if (!tensor.has_shape) return WrongJson(absl::StrCat("'shape' of ", Label(tensor)), "a list of extents");
    late |= tensor.has_data && !tensor.tensor.valid();
  }
  if (!late) return absl::OkStatus();
  document.rewind();
  ondemand::value list;
  RETURN_IF_JSON_ERROR(document.find_field(key).get(list));
  // The parser checks less of what it skips: a text that is no JSON may have other elements the second time.
  size_t read = 0;
  const absl::Status other = absl::InvalidArgumentError(absl::StrCat("JSON Parse error: Invalid value in '", key, "'"));
  RETURN_IF_ERROR(
      ReadJsonList(absl::StrCat("'", key, "'"), list, [&](size_t index, ondemand::value value) -> absl::Status {
        if (index >= tensors_.size()) return other;
        ++read;
        V2JsonTensor& tensor = tensors_[index];
        if (!tensor.has_data || tensor.tensor.valid()) return absl::OkStatus();
        ondemand::value data;
        RETURN_IF_JSON_ERROR(value.find_field("data").get(data));
        return ReadData(data, &tensor);
      }));
  return read == tensors_.size() ? absl::OkStatus() : other;
}

absl::StatusOr<Tensor> V2JsonTensors::TensorOf(V2JsonTensor* from, const Ref<TensorOrigin>& origin, uint64_t max_bytes,
                                               absl::string_view* binary) const {
  const std::optional<uint64_t>& size = from->binary_data_size;
  if (size.has_value() == from->has_data) {
    return absl::InvalidArgumentError(absl::StrCat(Label(*from), ": got ", from->has_data ? "both" : "neither",
                                                   " of 'data' and 'binary_data_size', want one of them"));
  }
  if (from->has_data) {
    absl::StatusOr<Tensor> shaped = from->tensor.Reshaped(from->shape);
    if (!shaped.ok()) return WithContext(Label(*from), shaped.status());
    return shaped;
  }
  if (*size > binary->size()) {
    return absl::InvalidArgumentError(absl::StrCat(Label(*from), ": got ", binary->size(),
                                                   " bytes of binary data, want ", *size,
                                                   "; is header Inference-Header-Content-Length right?"));
  }
  const absl::string_view raw = binary->substr(0, *size);
  binary->remove_prefix(*size);
  V2InputHead head{from->name, from->dtype, from->shape};
  head.kind = kind_;
  ASSIGN_OR_RETURN(Tensor view, ReadV2Raw(head, raw, origin, max_bytes));
  if (view.dtype() == DType::kString || origin) return view;  // a copy already, or not wanted
  return Tensor::CopyOf(view.dtype(), view.shape(), view.bytes());
}

absl::StatusOr<std::vector<NamedTensor>> V2JsonTensors::Take(absl::string_view binary, const Ref<TensorOrigin>& origin,
                                                             uint64_t max_bytes) {
  std::vector<NamedTensor> taken;
  taken.reserve(tensors_.size());
  for (V2JsonTensor& from : tensors_) {
    ASSIGN_OR_RETURN(Tensor tensor, TensorOf(&from, origin, max_bytes, &binary));
    max_bytes -= std::min<uint64_t>(max_bytes, tensor.bytes().size());
    taken.push_back({std::move(from.name), std::move(tensor)});
  }
  if (!binary.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("binary data: got ", binary.size(), " bytes that belong to no ",
                                                   kind_, ", want 'binary_data_size' to say whose they are"));
  }
  return taken;
}

}  // namespace portico
