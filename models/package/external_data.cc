#include "models/package/external_data.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/package/tensor_proto.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// Where a tensor's bytes are, as `external_data` of the protobuf says.
struct Location {
  std::string file;
  uint64_t offset = 0;
  std::optional<uint64_t> length;
};

absl::StatusOr<Location> ReadLocation(const onnx::TensorProto& proto) {
  Location location;
  for (const onnx::StringStringEntryProto& entry : proto.external_data()) {
    uint64_t number = 0;
    if (entry.key() == "location") {
      location.file = entry.value();
    } else if (entry.key() == "offset" || entry.key() == "length") {
      if (!absl::SimpleAtoi(entry.value(), &number)) {
        return absl::InvalidArgumentError(
            absl::StrCat("external data: got ", entry.key(), " '", entry.value(), "', want a number of bytes"));
      }
      if (entry.key() == "offset") {
        location.offset = number;
      } else {
        location.length = number;
      }
    }
  }
  return location;
}

bool StaysBelow(const std::filesystem::path& relative) {
  if (relative.empty() || relative.is_absolute()) return false;
  for (const std::filesystem::path& part : relative) {
    if (part == "..") return false;
  }
  return true;
}

/// The path without symbolic links.
absl::StatusOr<std::string> CanonicalPath(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(realpath(path.c_str(), nullptr), &std::free);
  if (resolved == nullptr) return ErrnoStatus(errno, "open", path);
  return std::string(resolved.get());
}

}  // namespace

absl::StatusOr<Ref<MappedFile>> ExternalData::Open(const std::string& location) {
  if (const auto file = files_.find(location); file != files_.end()) return file->second;
  if (folder_.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("external data '", location, "': got a model without a folder, want its weights inside it"));
  }
  const absl::Status outside = absl::InvalidArgumentError(
      absl::StrCat("external data '", location, "': got a file outside the model's folder '", folder_,
                   "', want a relative path that stays in it; move the weights beside the model"));
  if (!StaysBelow(location)) return outside;
  ASSIGN_OR_RETURN(const std::string folder, CanonicalPath(folder_));
  ASSIGN_OR_RETURN(const std::string path, CanonicalPath(absl::StrCat(folder, "/", location)));
  if (!absl::StartsWith(path, folder == "/" ? folder : absl::StrCat(folder, "/"))) return outside;
  ASSIGN_OR_RETURN(Ref<MappedFile> file, MappedFile::Open(path));
  files_.emplace(location, file);
  return file;
}

absl::StatusOr<Tensor> ExternalData::Read(const onnx::TensorProto& proto) {
  ASSIGN_OR_RETURN(TensorProtoType type, ReadTensorType(proto));
  if (type.dtype == DType::kString) {
    return absl::InvalidArgumentError("got strings in another file, want them inside the model");
  }
  ASSIGN_OR_RETURN(const Location location, ReadLocation(proto));
  ASSIGN_OR_RETURN(const uint64_t elements, NumElements(type.shape));
  const uint64_t want = BytesFor(type.dtype, elements);
  if (location.length.has_value() && *location.length != want) {
    return absl::InvalidArgumentError(absl::StrCat("external data '", location.file, "': got ", *location.length,
                                                   " bytes, want ", want, " for ", DTypeName(type.dtype),
                                                   ShapeString(type.shape)));
  }
  ASSIGN_OR_RETURN(const Ref<MappedFile> file, Open(location.file));
  const absl::string_view all = file->bytes();
  if (location.offset > all.size() || want > all.size() - location.offset) {
    return absl::InvalidArgumentError(absl::StrCat("external data '", location.file, "': got a file of ", all.size(),
                                                   " bytes, want ", want, " bytes at offset ", location.offset,
                                                   "; the file is truncated or belongs to another model"));
  }
  ASSIGN_OR_RETURN(const Tensor tensor,
                   Tensor::View(type.dtype, std::move(type.shape), all.substr(location.offset, want), file));
  return tensor.Aligned();
}

}  // namespace portico
