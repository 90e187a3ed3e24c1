#include "cli/npy.h"

#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{2} << 30;
constexpr absl::string_view kMagic("\x93NUMPY", 6);

/// "<f4" and so on; of one byte "|u1". kInvalid for what is not among them.
DType DTypeFromDescr(absl::string_view descr) {
  constexpr std::pair<absl::string_view, DType> kTypes[] = {
      {"<f4", DType::kFloat},  {"<f8", DType::kDouble}, {"<f2", DType::kFloat16}, {"|i1", DType::kInt8},
      {"<i2", DType::kInt16},  {"<i4", DType::kInt32},  {"<i8", DType::kInt64},   {"|u1", DType::kUint8},
      {"<u2", DType::kUint16}, {"<u4", DType::kUint32}, {"<u8", DType::kUint64},  {"|b1", DType::kBool}};
  for (const auto& [name, dtype] : kTypes) {
    if (descr == name) return dtype;
  }
  return DType::kInvalid;
}

/// What stands behind `'key':` in the header, a dict as Python writes it: {'descr': '<f4', 'fortran_order': False,
/// 'shape': (2, 3), }.
absl::string_view After(absl::string_view header, absl::string_view key) {
  const std::string quoted = absl::StrCat("'", key, "':");
  const size_t at = header.find(quoted);
  if (at == absl::string_view::npos) return "";
  return absl::StripLeadingAsciiWhitespace(header.substr(at + quoted.size()));
}

bool ParseShape(absl::string_view text, Shape* shape) {
  const size_t close = text.find(')');
  if (!absl::ConsumePrefix(&text, "(") || close == absl::string_view::npos) return false;
  for (const absl::string_view part : absl::StrSplit(text.substr(0, close - 1), ',')) {
    const absl::string_view extent = absl::StripAsciiWhitespace(part);
    if (extent.empty()) continue;
    if (!absl::SimpleAtoi(extent, &shape->emplace_back())) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<Tensor> ReadNpy(const std::string& path) {
  const auto error = [&path](absl::string_view message) {
    return absl::InvalidArgumentError(absl::StrCat("array file '", path, "': ", message));
  };
  ASSIGN_OR_RETURN(const std::string file, ReadFile(path, kMaxBytes));
  if (file.size() < 12 || !absl::StartsWith(file, kMagic))
    return error("got no NumPy array, want what numpy.save() writes");
  // Version 1 gives the header's length in 2 bytes, later ones in 4.
  const bool is_short = file[6] == 1;
  uint32_t length = 0;
  std::memcpy(&length, file.data() + 8, is_short ? 2 : 4);
  const size_t begin = is_short ? 10 : 12;
  if (length > file.size() - begin) return error("got a truncated header");
  const absl::string_view header(file.data() + begin, length);

  absl::string_view descr = After(header, "descr");
  if (absl::ConsumePrefix(&descr, "'")) descr = descr.substr(0, descr.find('\''));
  const DType dtype = DTypeFromDescr(descr);
  if (dtype == DType::kInvalid) {
    return error(
        absl::StrCat("got elements '", descr, "', want numbers or booleans, little-endian; convert it by astype()"));
  }
  if (!absl::StartsWith(After(header, "fortran_order"), "False")) {
    return error("got Fortran order, want C order; save numpy.ascontiguousarray(x)");
  }
  Shape shape;
  if (!ParseShape(After(header, "shape"), &shape)) return error("got a header without a shape");
  const absl::string_view data = absl::string_view(file).substr(begin + length);
  ASSIGN_OR_RETURN(const uint64_t elements, NumElements(shape));
  if (BytesFor(dtype, elements) != data.size()) {
    return error(absl::StrCat("got ", data.size(), " bytes of data, want ", BytesFor(dtype, elements), " for ",
                              DTypeName(dtype), ShapeString(shape)));
  }
  return Tensor::CopyOf(dtype, std::move(shape), data);
}

}  // namespace portico
