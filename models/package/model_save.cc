#include <climits>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/atomic_file.h"
#include "base/status_macros.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "models/package/model.h"
#include "models/package/tensor_proto.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

constexpr uint64_t kMaxInlineModelBytes = 1 << 20;
/// Weights up to this stay in the model even where the others leave: shapes and axes that tools want to see.
constexpr size_t kMaxInlineTensorBytes = 1 << 10;
constexpr uint64_t kWeightAlignment = 64;
constexpr char kWeightsFile[] = "weights.bin";

/// Protobuf's output into an AtomicFile, in pieces.
class AtomicFileStream final : public google::protobuf::io::CopyingOutputStream {
 public:
  explicit AtomicFileStream(AtomicFile& file) : file_(file) {}
  bool Write(const void* buffer, int size) override {
    status_ = file_.Append({static_cast<const char*>(buffer), static_cast<size_t>(size)});
    return status_.ok();
  }
  const absl::Status& status() const { return status_; }

 private:
  AtomicFile& file_;
  absl::Status status_;
};

absl::Status WriteModel(const onnx::ModelProto& model, const std::string& path) {
  if (const size_t bytes = model.ByteSizeLong(); bytes > INT_MAX) {
    return absl::InvalidArgumentError(absl::StrCat("model '", path, "': got ", bytes,
                                                   " bytes without the weights, want at most ", INT_MAX,
                                                   "; turn large Constant nodes into initializers"));
  }
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  AtomicFileStream out(file);
  google::protobuf::io::CopyingOutputStreamAdaptor stream(&out);
  const bool written = model.SerializeToZeroCopyStream(&stream) && stream.Flush();
  RETURN_IF_ERROR(out.status());
  if (!written) return absl::InternalError(absl::StrCat("model '", path, "': protobuf did not serialize it"));
  return file.Commit();
}

bool GoesOut(const Tensor& tensor) {
  return tensor.dtype() != DType::kString && tensor.bytes().size() > kMaxInlineTensorBytes;
}

void AddEntry(onnx::TensorProto& proto, const char* key, std::string value) {
  onnx::StringStringEntryProto* entry = proto.add_external_data();
  entry->set_key(key);
  entry->set_value(std::move(value));
}

/// Writes the large initializers of `graph` to weights.bin and declares them in `graph`.
absl::Status WriteWeights(const Model& model, const std::string& path, onnx::GraphProto& graph) {
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  absl::flat_hash_map<Digest, uint64_t> offsets;
  for (onnx::TensorProto& proto : *graph.mutable_initializer()) {
    const Initializer& initializer = model.initializers().at(proto.name());
    if (!GoesOut(initializer.tensor)) continue;
    const auto [offset, is_new] = offsets.try_emplace(initializer.digest, 0);
    if (is_new) {
      ASSIGN_OR_RETURN(offset->second, file.Align(kWeightAlignment));
      RETURN_IF_ERROR(file.Append(initializer.tensor.bytes()));
    }
    proto.set_data_location(onnx::TensorProto::EXTERNAL);
    AddEntry(proto, "location", kWeightsFile);
    AddEntry(proto, "offset", absl::StrCat(offset->second));
    AddEntry(proto, "length", absl::StrCat(initializer.tensor.bytes().size()));
  }
  return file.Commit();
}

}  // namespace

absl::Status Model::Save(const std::string& folder) const {
  onnx::ModelProto model = *proto_;  // holds no initializer's data
  onnx::GraphProto& graph = *model.mutable_graph();
  uint64_t total = 0;
  bool any_large = false;
  for (const auto& [name, initializer] : initializers_) {
    total += initializer.tensor.bytes().size();
    any_large |= GoesOut(initializer.tensor);
  }
  if (total > kMaxInlineModelBytes && any_large) {
    RETURN_IF_ERROR(WriteWeights(*this, absl::StrCat(folder, "/", kWeightsFile), graph));
  }
  for (onnx::TensorProto& proto : *graph.mutable_initializer()) {
    if (proto.data_location() != onnx::TensorProto::EXTERNAL) PutTensor(initializers_.at(proto.name()).tensor, proto);
  }
  return WriteModel(model, absl::StrCat(folder, "/model.onnx"));
}

}  // namespace portico
