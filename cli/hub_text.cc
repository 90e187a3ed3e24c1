#include "cli/hub_text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/byte_text.h"
#include "cli/json_writer.h"
#include "cli/signature_lines.h"
#include "cli/terminal_text.h"
#include "cli/text_table.h"

namespace portico {

std::string ModuleListText(const std::vector<ModuleEntry>& entries, size_t columns) {
  TextTable lines({"HANDLE", "DIGEST", "FAMILY", "SIZE"}, 3);
  for (const ModuleEntry& entry : entries) {
    lines.Add({entry.handle.ToString(), entry.digest.Short(), entry.family, ByteText(entry.bytes)});
  }
  return lines.Print(columns);
}

std::string ModuleListJson(const std::vector<ModuleEntry>& entries) {
  JsonWriter json;
  json.BeginArray();
  for (const ModuleEntry& entry : entries) {
    json.BeginObject();
    json.String("handle", entry.handle.ToString());
    json.String("digest", entry.digest.Hex());
    json.String("family", entry.family);
    json.Number("bytes", static_cast<int64_t>(entry.bytes));
    json.EndObject();
  }
  json.EndArray();
  return json.Take() + "\n";
}

std::string ProvenanceText(const Provenance& provenance, const std::string& indent) {
  std::string text;
  if (!provenance.source.empty()) absl::StrAppend(&text, indent, "made of digest ", provenance.source.Hex(), "\n");
  if (!provenance.tool.empty()) absl::StrAppend(&text, indent, "made by ", ForTerminal(provenance.tool), "\n");
  if (provenance.plan.empty()) return text;
  absl::StrAppend(&text, indent, "by the plan\n");
  for (const absl::string_view line : absl::StrSplit(absl::StripSuffix(provenance.plan, "\n"), '\n')) {
    absl::StrAppend(&text, indent, "  ", ForTerminal(line), "\n");
  }
  return text;
}

std::string ManifestText(const Manifest& manifest) {
  std::string text = absl::StrCat(manifest.handle.ToString(), "\n  digest ", manifest.digest.Hex(), "\n");
  const auto add = [&text](absl::string_view what, const std::string& value) {
    if (!value.empty()) absl::StrAppend(&text, "  ", what, " ", ForTerminal(value), "\n");
  };
  add("family", manifest.family);
  add("description", manifest.description);
  add("licence", manifest.license);
  add("published", absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", manifest.published, absl::UTCTimeZone()));
  add("published by", manifest.tool);
  absl::StrAppend(&text, ProvenanceText(manifest.provenance, "  "));
  for (const Signature& signature : manifest.signatures) {
    absl::StrAppend(&text, "signature ", ForTerminal(signature.name), "\n", SignatureLines(signature));
  }
  for (const PortalTarget& portal : manifest.portals) {
    absl::StrAppend(&text, "calls ", ForTerminal(portal.name),
                    portal.digest.empty() ? "" : absl::StrCat(" digest ", portal.digest.Short()), "\n");
  }
  absl::StrAppend(&text, "files, ", ByteText(manifest.bytes()), "\n");
  for (const ModuleFile& file : manifest.files) {
    absl::StrAppend(&text, "  ", file.sha256.Hex(), "  ", ForTerminal(file.path), "  ", ByteText(file.bytes), "\n");
  }
  return text;
}

}  // namespace portico
