#include "cli/npy.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

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

/// Bytes of each text of "<U12" (UCS-4) or "|S12"; 0 for what is no text. Texts of no bytes, "<U0", have none to read.
uint64_t TextBytesFromDescr(absl::string_view descr) {
  uint64_t characters = 0;
  const bool wide = absl::ConsumePrefix(&descr, "<U");
  if (!wide && !absl::ConsumePrefix(&descr, "|S")) return 0;
  if (!absl::SimpleAtoi(descr, &characters) || characters > kMaxBytes) return 0;
  return wide ? 4 * characters : characters;
}

void AppendUtf8(uint32_t c, std::string& out) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
    return;
  }
  const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  constexpr uint32_t kFirst[] = {0, 0xc0, 0xe0, 0xf0};
  out.push_back(static_cast<char>(kFirst[more] | c >> (6 * more)));
  for (int i = more; i-- > 0;) out.push_back(static_cast<char>(0x80 | (c >> (6 * i) & 0x3f)));
}

/// Texts of `size` bytes each, filled up with zeros.
absl::StatusOr<Tensor> ReadText(absl::string_view data, uint64_t size, bool wide, Shape shape) {
  std::vector<std::string> texts;
  for (; !data.empty(); data.remove_prefix(size)) {
    absl::string_view element = data.substr(0, size);
    std::string& text = texts.emplace_back();
    if (!wide) {
      text = std::string(element.substr(0, element.find_last_not_of('\0') + 1));
      continue;
    }
    size_t zeros = 0;
    for (; !element.empty(); element.remove_prefix(4)) {
      uint32_t c = 0;
      std::memcpy(&c, element.data(), 4);
      if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
        return absl::InvalidArgumentError(absl::StrCat("got character ", c, ", want Unicode"));
      }
      zeros = c == 0 ? zeros + 1 : 0;
      AppendUtf8(c, text);
    }
    text.resize(text.size() - zeros);
  }
  return Tensor::OfStrings(std::move(shape), absl::MakeConstSpan(texts));
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

absl::StatusOr<NpyHeader> ParseNpyHeader(absl::string_view begin) {
  const auto error = [](absl::string_view message) { return absl::InvalidArgumentError(message); };
  if (begin.size() < 12 || !absl::StartsWith(begin, kMagic))
    return error("got no NumPy array, want what numpy.save() writes");
  // Version 1 gives the header's length in 2 bytes, later ones in 4.
  const bool is_short = begin[6] == 1;
  uint32_t length = 0;
  std::memcpy(&length, begin.data() + 8, is_short ? 2 : 4);
  const size_t header_at = is_short ? 10 : 12;
  if (length > begin.size() - header_at) return error("got a truncated header");
  const absl::string_view header = begin.substr(header_at, length);

  NpyHeader parsed;
  absl::string_view descr = After(header, "descr");
  if (absl::ConsumePrefix(&descr, "'")) descr = descr.substr(0, descr.find('\''));
  parsed.text_bytes = TextBytesFromDescr(descr);
  parsed.utf32 = parsed.text_bytes > 0 && descr[1] == 'U';
  parsed.dtype = parsed.text_bytes > 0 ? DType::kString : DTypeFromDescr(descr);
  if (parsed.dtype == DType::kInvalid) {
    return error(absl::StrCat("got elements '", descr,
                              "', want numbers, booleans or text, little-endian; convert it by astype()"));
  }
  if (!absl::StartsWith(After(header, "fortran_order"), "False")) {
    return error("got Fortran order, want C order; save numpy.ascontiguousarray(x)");
  }
  if (!ParseShape(After(header, "shape"), &parsed.shape)) return error("got a header without a shape");
  parsed.data_offset = header_at + length;
  return parsed;
}

absl::StatusOr<Tensor> ReadNpy(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string file, ReadFile(path, kMaxBytes));
  absl::StatusOr<Tensor> array = ParseNpy(file);
  if (!array.ok()) return WithContext(absl::StrCat("array file '", path, "'"), array.status());
  return array;
}

absl::StatusOr<Tensor> ParseNpy(absl::string_view file) {
  ASSIGN_OR_RETURN(NpyHeader header, ParseNpyHeader(file));
  const absl::string_view data = file.substr(header.data_offset);
  ASSIGN_OR_RETURN(const uint64_t elements, NumElements(header.shape));
  const uint64_t bytes = header.text_bytes == 0                     ? BytesFor(header.dtype, elements)
                         : elements > kMaxBytes / header.text_bytes ? kMaxBytes + 1
                                                                    : elements * header.text_bytes;
  if (bytes != data.size()) {
    return absl::InvalidArgumentError(absl::StrCat("got ", data.size(), " bytes of data, want ", bytes, " for ",
                                                   DTypeName(header.dtype), ShapeString(header.shape)));
  }
  if (header.text_bytes > 0) return ReadText(data, header.text_bytes, header.utf32, std::move(header.shape));
  return Tensor::CopyOf(header.dtype, std::move(header.shape), data);
}

}  // namespace portico
