#include "node/frontend/model_metadata.h"

#include <google/protobuf/util/json_util.h>

#include "absl/strings/str_cat.h"
#include "codec/json_text.h"
#include "codec/tf_dtype.h"
#include "tensorflow_serving/predict.pb.h"

namespace portico {
namespace {

tensorflow::TensorInfo InfoOf(const TensorSpec& spec) {
  tensorflow::TensorInfo info;
  info.set_name(spec.graph_name);
  info.set_dtype(static_cast<tensorflow::DataType>(TfDataType(spec.dtype).value_or(0)));
  tensorflow::TensorShapeProto& shape = *info.mutable_tensor_shape();
  shape.set_unknown_rank(!spec.has_rank);
  for (const Dim& dim : spec.dims) {
    tensorflow::TensorShapeProto::Dim& out = *shape.add_dim();
    out.set_size(dim.extent);
    out.set_name(dim.symbol);
  }
  return info;
}

}  // namespace

void FillSignatureDefs(const std::vector<Signature>& signatures, tensorflow::serving::SignatureDefMap* map) {
  for (const Signature& signature : signatures) {
    tensorflow::SignatureDef& def = (*map->mutable_signature_def())[signature.name];
    def.set_method_name("tensorflow/serving/predict");
    for (const TensorSpec& spec : signature.inputs) (*def.mutable_inputs())[spec.name] = InfoOf(spec);
    for (const TensorSpec& spec : signature.outputs) (*def.mutable_outputs())[spec.name] = InfoOf(spec);
  }
}

absl::StatusOr<std::string> MetadataJson(absl::string_view model, int64_t version,
                                         const std::vector<Signature>& signatures) {
  tensorflow::serving::SignatureDefMap map;
  FillSignatureDefs(signatures, &map);
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string defs;
  const auto printed = google::protobuf::util::MessageToJsonString(map, &defs, options);
  if (!printed.ok()) return absl::InternalError(absl::StrCat("metadata of model '", model, "': ", printed.ToString()));
  std::string json = "{\"model_spec\":{\"name\":";
  AppendJsonString(model, &json);
  absl::StrAppend(&json, ",\"signature_name\":\"\",\"version\":\"", version,
                  "\"},\"metadata\":{\"signature_def\":", defs, "}}");
  return json;
}

}  // namespace portico
