#include "node/frontend/v2_info_json.h"

#include "absl/strings/str_cat.h"
#include "codec/json_text.h"
#include "inference/grpc_service.pb.h"

namespace portico {
namespace {

/// Words for Triton's numbers of datatypes.
constexpr absl::string_view kConfigTypes[] = {"TYPE_INVALID", "TYPE_BOOL", "TYPE_UINT8", "TYPE_UINT16", "TYPE_UINT32",
                                              "TYPE_UINT64",  "TYPE_INT8", "TYPE_INT16", "TYPE_INT32",  "TYPE_INT64",
                                              "TYPE_FP16",    "TYPE_FP32", "TYPE_FP64",  "TYPE_STRING", "TYPE_BF16"};

void AppendText(absl::string_view key, absl::string_view value, std::string* out) {
  absl::StrAppend(out, out->back() == '{' ? "" : ",", "\"", key, "\":");
  AppendJsonString(value, out);
}

/// "key":[…], each element by `append`.
template <typename List, typename Append>
void AppendList(absl::string_view key, const List& list, std::string* out, Append append) {
  absl::StrAppend(out, out->back() == '{' ? "" : ",", "\"", key, "\":[");
  bool first = true;
  for (const auto& element : list) {
    if (!first) out->push_back(',');
    first = false;
    append(element);
  }
  out->push_back(']');
}

void AppendDuration(absl::string_view key, const inference::StatisticDuration& duration, std::string* out) {
  absl::StrAppend(out, out->back() == '{' ? "" : ",", "\"", key, "\":{\"count\":", duration.count(),
                  ",\"ns\":", duration.ns(), "}");
}

template <typename Tensors>
void AppendTensors(absl::string_view key, const Tensors& tensors, std::string* out) {
  AppendList(key, tensors, out, [&](const auto& tensor) {
    out->push_back('{');
    AppendText("name", tensor.name(), out);
    AppendText("datatype", tensor.datatype(), out);
    AppendList("shape", tensor.shape(), out, [&](int64_t extent) { absl::StrAppend(out, extent); });
    out->push_back('}');
  });
}

template <typename Tensors>
void AppendConfigTensors(absl::string_view key, const Tensors& tensors, std::string* out) {
  AppendList(key, tensors, out, [&](const auto& tensor) {
    out->push_back('{');
    AppendText("name", tensor.name(), out);
    AppendText("data_type", kConfigTypes[tensor.data_type()], out);
    AppendList("dims", tensor.dims(), out, [&](int64_t extent) { absl::StrAppend(out, extent); });
    out->push_back('}');
  });
}

}  // namespace

std::string V2Json(const inference::ServerMetadataResponse& metadata) {
  std::string out = "{";
  AppendText("name", metadata.name(), &out);
  AppendText("version", metadata.version(), &out);
  AppendList("extensions", metadata.extensions(), &out, [&](const auto& text) { AppendJsonString(text, &out); });
  return out + "}";
}

std::string V2Json(const inference::ModelMetadataResponse& metadata) {
  std::string out = "{";
  AppendText("name", metadata.name(), &out);
  AppendList("versions", metadata.versions(), &out, [&](const auto& text) { AppendJsonString(text, &out); });
  AppendText("platform", metadata.platform(), &out);
  AppendTensors("inputs", metadata.inputs(), &out);
  AppendTensors("outputs", metadata.outputs(), &out);
  return out + "}";
}

std::string V2Json(const inference::ModelConfig& config) {
  std::string out = "{";
  AppendText("name", config.name(), &out);
  AppendText("platform", config.platform(), &out);
  AppendText("backend", config.backend(), &out);
  absl::StrAppend(&out, ",\"max_batch_size\":", config.max_batch_size());
  AppendConfigTensors("input", config.input(), &out);
  AppendConfigTensors("output", config.output(), &out);
  return out + "}";
}

std::string V2Json(const inference::RepositoryIndexResponse& index) {
  std::string out = "[";
  for (const auto& model : index.models()) {
    if (out.size() > 1) out.push_back(',');
    out.push_back('{');
    AppendText("name", model.name(), &out);
    if (!model.version().empty()) AppendText("version", model.version(), &out);
    AppendText("state", model.state(), &out);
    AppendText("reason", model.reason(), &out);
    out.push_back('}');
  }
  return out + "]";
}

std::string V2Json(const inference::ModelStatisticsResponse& statistics) {
  std::string out = "{";
  AppendList("model_stats", statistics.model_stats(), &out, [&](const inference::ModelStatistics& model) {
    out.push_back('{');
    AppendText("name", model.name(), &out);
    AppendText("version", model.version(), &out);
    absl::StrAppend(&out, ",\"last_inference\":", model.last_inference(),
                    ",\"inference_count\":", model.inference_count(), ",\"execution_count\":", model.execution_count(),
                    ",\"inference_stats\":{");
    AppendDuration("success", model.inference_stats().success(), &out);
    AppendDuration("fail", model.inference_stats().fail(), &out);
    AppendDuration("queue", model.inference_stats().queue(), &out);
    AppendDuration("compute_input", model.inference_stats().compute_input(), &out);
    AppendDuration("compute_infer", model.inference_stats().compute_infer(), &out);
    AppendDuration("compute_output", model.inference_stats().compute_output(), &out);
    AppendDuration("cache_hit", model.inference_stats().cache_hit(), &out);
    AppendDuration("cache_miss", model.inference_stats().cache_miss(), &out);
    out.push_back('}');
    AppendList("batch_stats", model.batch_stats(), &out, [&](const inference::InferBatchStatistics& batch) {
      absl::StrAppend(&out, "{\"batch_size\":", batch.batch_size());
      AppendDuration("compute_input", batch.compute_input(), &out);
      AppendDuration("compute_infer", batch.compute_infer(), &out);
      AppendDuration("compute_output", batch.compute_output(), &out);
      out.push_back('}');
    });
    out.push_back('}');
  });
  return out + "}";
}

}  // namespace portico
