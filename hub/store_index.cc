#include "hub/store_index.h"

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/json_string.h"
#include "base/status_macros.h"
#include "simdjson.h"

namespace portico {
namespace {

constexpr int64_t kFormat = 1;

absl::Status Wrong(absl::string_view got, absl::string_view want) {
  return absl::InvalidArgumentError(absl::StrCat("index: got ", got, ", want ", want));
}

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

absl::StatusOr<std::vector<ModuleEntry>> Read(const simdjson::dom::element& root) {
  int64_t format = 0;
  if (root["portico_index"].get(format) != simdjson::SUCCESS) return Wrong("no 'portico_index'", "a store's index");
  if (format != kFormat) {
    return Wrong(absl::StrCat("format ", format), absl::StrCat(kFormat, "; use a newer portico"));
  }
  std::vector<ModuleEntry> entries;
  for (const simdjson::dom::element from : root["modules"].get_array()) {
    ModuleEntry& entry = entries.emplace_back();
    ASSIGN_OR_RETURN(entry.handle, ParseHandle(View(from["handle"].get_string().value())));
    ASSIGN_OR_RETURN(entry.digest, Digest::FromHex(View(from["digest"].get_string().value())));
    entry.bytes = from["bytes"].get_uint64();
    std::string_view family;
    if (from["family"].get(family) == simdjson::SUCCESS && !family.empty()) {
      RETURN_IF_ERROR(CheckFamilyName(View(family)));
      entry.family = std::string(family);
    }
  }
  absl::c_sort(entries, [](const ModuleEntry& a, const ModuleEntry& b) { return a.handle < b.handle; });
  return entries;
}

}  // namespace

std::string FormatIndex(const std::vector<ModuleEntry>& entries) {
  std::string out = absl::StrCat("{\"portico_index\": ", kFormat, ", \"modules\": [");
  for (const ModuleEntry& entry : entries) {
    out.append(&entry == &entries.front() ? "\n  {\"handle\": " : ",\n  {\"handle\": ");
    AppendJsonString(entry.handle.ToString(), &out);
    absl::StrAppend(&out, ", \"digest\": \"", entry.digest.Hex(), "\", \"bytes\": ", entry.bytes);
    if (!entry.family.empty()) {
      out.append(", \"family\": ");
      AppendJsonString(entry.family, &out);
    }
    out.append("}");
  }
  out.append("\n]}\n");
  return out;
}

absl::StatusOr<std::vector<ModuleEntry>> ParseIndex(absl::string_view text) {
  if (text.size() > kMaxIndexBytes) {
    return Wrong(absl::StrCat(text.size(), " bytes"), absl::StrCat("at most ", kMaxIndexBytes));
  }
  try {
    simdjson::dom::parser parser(kMaxIndexBytes);
    return Read(parser.parse(simdjson::padded_string(text.data(), text.size())));
  } catch (const simdjson::simdjson_error& error) {
    return Wrong(error.what(), "JSON as 'portico hub publish' writes it");
  }
}

}  // namespace portico
