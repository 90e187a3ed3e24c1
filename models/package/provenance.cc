#include "models/package/provenance.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

constexpr char kSource[] = "portico.source_digest";
constexpr char kPlan[] = "portico.plan";
constexpr char kTool[] = "portico.tool";
constexpr size_t kMaxToolBytes = 256;

void Set(onnx::ModelProto& proto, const char* key, std::string value) {
  if (value.empty()) return;
  onnx::StringStringEntryProto* entry = proto.add_metadata_props();
  entry->set_key(key);
  entry->set_value(std::move(value));
}

bool IsOurs(const onnx::StringStringEntryProto& entry) {
  return entry.key() == kSource || entry.key() == kPlan || entry.key() == kTool;
}

}  // namespace

Provenance ReadProvenance(const Model& model) {
  Provenance provenance;
  for (const onnx::StringStringEntryProto& entry : model.proto().metadata_props()) {
    if (entry.key() == kSource) provenance.source = Digest::FromHex(entry.value()).value_or(Digest());
    if (entry.key() == kPlan) provenance.plan = entry.value().substr(0, Provenance::kMaxPlanBytes);
    if (entry.key() == kTool) provenance.tool = entry.value().substr(0, kMaxToolBytes);
  }
  return provenance;
}

absl::StatusOr<Model> WithProvenance(const Model& model, const Provenance& provenance) {
  if (provenance.plan.size() > Provenance::kMaxPlanBytes) {
    return absl::InvalidArgumentError(absl::StrCat("plan: got ", provenance.plan.size(), " bytes, want at most ",
                                                   Provenance::kMaxPlanBytes, " to be recorded in a part; shorten it"));
  }
  auto proto = std::make_unique<onnx::ModelProto>(model.proto());
  auto& entries = *proto->mutable_metadata_props();
  entries.erase(std::remove_if(entries.begin(), entries.end(), IsOurs), entries.end());
  Set(*proto, kSource, provenance.source.empty() ? "" : provenance.source.Hex());
  Set(*proto, kPlan, provenance.plan);
  Set(*proto, kTool, provenance.tool.substr(0, kMaxToolBytes));
  return Model::WithWeightsOf(model, std::move(proto));
}

}  // namespace portico
