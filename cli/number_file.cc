#include "cli/number_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/small_float.h"
#include "base/status_macros.h"
#include "cli/npy.h"

namespace portico {
namespace {

absl::Status Wrong(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("array file '", path, "': ", what));
}

absl::StatusOr<uint64_t> SizeOf(const std::string& path) {
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error) return ErrnoStatus(error.value(), "look at", path);
  return size;
}

template <typename From, typename To, typename Convert>
void ConvertAll(const std::string& bytes, absl::Span<To> out, Convert convert) {
  for (size_t i = 0; i < out.size(); ++i) {
    From value;
    std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));
    out[i] = convert(value);
  }
}

}  // namespace

absl::StatusOr<NumberFile> NumberFile::OpenNpy(const std::string& path) {
  std::FILE* const opened = std::fopen(path.c_str(), "rb");
  if (opened == nullptr) return ErrnoStatus(errno, "open", path);
  NumberFile file(path, opened);
  std::string begin(kMaxNpyHeaderBytes, '\0');
  begin.resize(std::fread(begin.data(), 1, begin.size(), opened));
  absl::StatusOr<NpyHeader> header = ParseNpyHeader(begin);
  if (!header.ok()) return WithContext(absl::StrCat("array file '", path, "'"), header.status());
  ASSIGN_OR_RETURN(const uint64_t size, SizeOf(path));
  ASSIGN_OR_RETURN(const uint64_t elements, NumElements(header->shape));
  if (header->dtype == DType::kString) return Wrong(path, "got text, want float32, float64 or float16");
  const uint64_t want = header->data_offset + BytesFor(header->dtype, elements);
  if (size != want) return Wrong(path, absl::StrCat("got ", size, " bytes, want ", want));
  if (std::fseek(opened, static_cast<long>(header->data_offset), SEEK_SET) != 0)
    return ErrnoStatus(errno, "seek in", path);
  file.begin_ = header->data_offset;
  file.dtype_ = header->dtype;
  file.shape_ = std::move(header->shape);
  return file;
}

absl::StatusOr<NumberFile> NumberFile::OpenRaw(const std::string& path, DType dtype, uint64_t columns) {
  std::FILE* const opened = std::fopen(path.c_str(), "rb");
  if (opened == nullptr) return ErrnoStatus(errno, "open", path);
  NumberFile file(path, opened);
  ASSIGN_OR_RETURN(const uint64_t size, SizeOf(path));
  const uint64_t row_bytes = BytesFor(dtype, columns == 0 ? 1 : columns);
  if (row_bytes == 0 || size % row_bytes != 0) {
    return Wrong(path, absl::StrCat("got ", size, " bytes, want a multiple of ", row_bytes));
  }
  file.dtype_ = dtype;
  file.shape_ = {static_cast<int64_t>(size / row_bytes)};
  if (columns != 0) file.shape_.push_back(static_cast<int64_t>(columns));
  return file;
}

absl::Status NumberFile::Seek(uint64_t value) {
  ASSIGN_OR_RETURN(const uint64_t values, NumElements(shape_));
  if (value > values)
    return absl::FailedPreconditionError(
        absl::StrCat("array file '", path_, "': got ", values, " values, want ", value));
  const uint64_t at = begin_ + BytesFor(dtype_, value);
  return std::fseek(file_.get(), static_cast<long>(at), SEEK_SET) == 0 ? absl::OkStatus()
                                                                       : ErrnoStatus(errno, "seek in", path_);
}

absl::Status NumberFile::ReadBytes(uint64_t count) {
  bytes_.resize(BytesFor(dtype_, count));
  if (std::fread(bytes_.data(), 1, bytes_.size(), file_.get()) == bytes_.size()) return absl::OkStatus();
  if (std::ferror(file_.get()) != 0) return ErrnoStatus(errno, "read", path_);
  return absl::DataLossError(absl::StrCat("array file '", path_, "': ends early; it changed while it was read"));
}

absl::Status NumberFile::ReadFloats(absl::Span<float> out) {
  switch (dtype_) {
    case DType::kFloat:
    case DType::kDouble:
    case DType::kFloat16:
      break;
    default:
      return Wrong(path_, absl::StrCat("got ", DTypeName(dtype_), ", want float32, float64 or float16"));
  }
  RETURN_IF_ERROR(ReadBytes(out.size()));
  if (dtype_ == DType::kFloat) ConvertAll<float>(bytes_, out, [](float value) { return value; });
  if (dtype_ == DType::kDouble) ConvertAll<double>(bytes_, out, [](double value) { return static_cast<float>(value); });
  if (dtype_ == DType::kFloat16) ConvertAll<uint16_t>(bytes_, out, FloatFromHalf);
  return absl::OkStatus();
}

absl::Status NumberFile::ReadIds(absl::Span<int64_t> out) {
  switch (dtype_) {
    case DType::kInt64:
    case DType::kUint64:
    case DType::kInt32:
    case DType::kUint32:
      break;
    default:
      return Wrong(path_, absl::StrCat("got ", DTypeName(dtype_), ", want int64, uint64, int32 or uint32"));
  }
  RETURN_IF_ERROR(ReadBytes(out.size()));
  const auto widen = [](auto value) { return static_cast<int64_t>(value); };
  if (dtype_ == DType::kInt64) ConvertAll<int64_t>(bytes_, out, widen);
  if (dtype_ == DType::kUint64) ConvertAll<uint64_t>(bytes_, out, widen);
  if (dtype_ == DType::kInt32) ConvertAll<int32_t>(bytes_, out, widen);
  if (dtype_ == DType::kUint32) ConvertAll<uint32_t>(bytes_, out, widen);
  return absl::OkStatus();
}

}  // namespace portico
