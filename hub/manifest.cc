#include "hub/manifest.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/json_string.h"
#include "base/status_macros.h"
#include "simdjson.h"

namespace portico {
namespace {

constexpr int64_t kFormat = 1;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 42;
constexpr size_t kMaxPathBytes = 512;
constexpr size_t kMaxPathParts = 8;
constexpr size_t kMaxSignatures = 64;
constexpr size_t kMaxTensors = 1024;
constexpr size_t kMaxRank = 64;
constexpr size_t kMaxNameBytes = 1024;
constexpr size_t kMaxPortals = 1024;
constexpr size_t kMaxShownBytes = 100;

using Element = simdjson::dom::element;

absl::Status Wrong(absl::string_view what, absl::string_view got, absl::string_view want) {
  return absl::InvalidArgumentError(absl::StrCat("manifest: ", what, ": got ", got, ", want ", want));
}

/// What a stranger wrote, for messages.
std::string Shown(absl::string_view text) { return absl::CHexEscape(text.substr(0, kMaxShownBytes)); }

// ---- Writing.

void AddText(absl::string_view key, absl::string_view value, std::string* out) {
  AppendJsonString(key, out);
  out->append(": ");
  AppendJsonString(value, out);
}

/// "  "key": "value"," in a line of its own; nothing where `value` is empty.
void AddLine(absl::string_view key, absl::string_view value, std::string* out) {
  if (value.empty()) return;
  out->append("  ");
  AddText(key, value, out);
  out->append(",\n");
}

void AddTensors(absl::string_view key, const std::vector<TensorSpec>& specs, std::string* out) {
  absl::StrAppend(out, ", \"", key, "\": [");
  for (const TensorSpec& spec : specs) {
    out->append(&spec == &specs.front() ? "\n      {" : ",\n      {");
    AddText("name", spec.name, out);
    out->append(", ");
    AddText("dtype", spec.dtype == DType::kInvalid ? "any" : DTypeName(spec.dtype), out);
    if (spec.has_rank) {
      out->append(", \"shape\": [");
      for (const Dim& dim : spec.dims) {
        if (&dim != &spec.dims.front()) out->append(", ");
        if (dim.extent >= 0) {
          absl::StrAppend(out, dim.extent);
        } else {
          AppendJsonString(dim.symbol.empty() ? "?" : dim.symbol, out);
        }
      }
      out->append("]");
    }
    out->append("}");
  }
  out->append("]");
}

/// `each` writes one of `list`.
template <typename List, typename Each>
void AddList(absl::string_view key, const List& list, std::string* out, Each each) {
  absl::StrAppend(out, "  \"", key, "\": [");
  for (const auto& one : list) {
    out->append(&one == &list.front() ? "\n    {" : ",\n    {");
    each(one);
    out->append("}");
  }
  out->append(list.empty() ? "]" : "\n  ]");
}

// ---- Reading. simdjson's own errors are thrown, and caught in ParseManifest().

absl::StatusOr<std::string> Text(const Element& from, absl::string_view key, size_t max_bytes) {
  Element value;
  if (from[std::string_view(key.data(), key.size())].get(value) != simdjson::SUCCESS) return std::string();
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return Wrong(key, "something else", "a text");
  if (text.size() > max_bytes) {
    return Wrong(key, absl::StrCat(text.size(), " bytes"), absl::StrCat("at most ", max_bytes));
  }
  return std::string(text);
}

absl::StatusOr<Digest> ReadDigest(const Element& from, absl::string_view key) {
  ASSIGN_OR_RETURN(const std::string hex, Text(from, key, kMaxNameBytes));
  const absl::StatusOr<Digest> digest = Digest::FromHex(hex);
  if (!digest.ok()) return WithContext(absl::StrCat("manifest: ", key), digest.status());
  return digest;
}

absl::StatusOr<simdjson::dom::array> List(const Element& from, absl::string_view key, size_t max) {
  simdjson::dom::array list;
  if (from[std::string_view(key.data(), key.size())].get(list) != simdjson::SUCCESS) {
    return Wrong(key, "none", "a list");
  }
  if (list.size() > max) return Wrong(key, absl::StrCat("over ", max), absl::StrCat("at most ", max));
  return list;
}

absl::Status ReadFiles(const Element& root, std::vector<ModuleFile>* files) {
  ASSIGN_OR_RETURN(const simdjson::dom::array list, List(root, "files", Manifest::kMaxFiles));
  for (const Element from : list) {
    ModuleFile& file = files->emplace_back();
    ASSIGN_OR_RETURN(file.path, Text(from, "path", kMaxPathBytes));
    RETURN_IF_ERROR(CheckModulePath(file.path));
    if (from["bytes"].get(file.bytes) != simdjson::SUCCESS || file.bytes > kMaxFileBytes) {
      return Wrong(absl::StrCat("file '", Shown(file.path), "'"), "no size or too large a one",
                   absl::StrCat("at most ", kMaxFileBytes, " bytes"));
    }
    ASSIGN_OR_RETURN(file.sha256, ReadDigest(from, "sha256"));
  }
  absl::c_sort(*files, [](const ModuleFile& a, const ModuleFile& b) { return a.path < b.path; });
  for (size_t i = 0; i < files->size(); ++i) {
    // What lies in `x/` sorts behind `x`, not always at once: 'x', 'x-y', 'x/y'.
    const std::string& path = (*files)[i].path;
    for (size_t j = i + 1; j < files->size() && absl::StartsWith((*files)[j].path, path); ++j) {
      const std::string& other = (*files)[j].path;
      if (other.size() != path.size() && other[path.size()] != '/') continue;
      return Wrong("files", absl::StrCat("'", Shown(path), "' and '", Shown(other), "'"),
                   "each path once, and no file as a folder");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TensorSpec>> ReadTensors(const Element& from, absl::string_view key) {
  ASSIGN_OR_RETURN(const simdjson::dom::array list, List(from, key, kMaxTensors));
  std::vector<TensorSpec> specs;
  for (const Element one : list) {
    TensorSpec& spec = specs.emplace_back();
    ASSIGN_OR_RETURN(spec.name, Text(one, "name", kMaxNameBytes));
    spec.graph_name = spec.name;
    ASSIGN_OR_RETURN(const std::string dtype, Text(one, "dtype", kMaxNameBytes));
    if (dtype != "any") {
      ASSIGN_OR_RETURN(spec.dtype, DTypeFromName(dtype));
    }
    Element shape;
    spec.has_rank = one["shape"].get(shape) == simdjson::SUCCESS;
    if (!spec.has_rank) continue;
    ASSIGN_OR_RETURN(const simdjson::dom::array dims, List(one, "shape", kMaxRank));
    for (const Element extent : dims) {
      Dim& dim = spec.dims.emplace_back();
      std::string_view symbol;
      if (extent.get(symbol) == simdjson::SUCCESS && symbol.size() <= kMaxNameBytes) {
        if (symbol != "?") dim.symbol = std::string(symbol);
      } else if (extent.get(dim.extent) != simdjson::SUCCESS || dim.extent < 0) {
        return Wrong(absl::StrCat("tensor '", Shown(spec.name), "': shape"), "something else", "numbers and names");
      }
    }
  }
  return specs;
}

absl::StatusOr<Manifest> Read(const Element& root) {
  int64_t format = 0;
  if (root["portico_manifest"].get(format) != simdjson::SUCCESS) {
    return Wrong("portico_manifest", "none", "a manifest of a hub module");
  }
  if (format != kFormat) {
    return Wrong("portico_manifest", absl::StrCat(format), absl::StrCat(kFormat, "; use a newer portico"));
  }
  Manifest manifest;
  ASSIGN_OR_RETURN(const std::string handle, Text(root, "handle", kMaxNameBytes));
  ASSIGN_OR_RETURN(manifest.handle, ParseHandle(handle));
  ASSIGN_OR_RETURN(manifest.digest, ReadDigest(root, "digest"));
  ASSIGN_OR_RETURN(manifest.family, Text(root, "family", kMaxNameBytes));
  if (!manifest.family.empty()) RETURN_IF_ERROR(CheckFamilyName(manifest.family));
  ASSIGN_OR_RETURN(manifest.description, Text(root, "description", Manifest::kMaxTextBytes));
  ASSIGN_OR_RETURN(manifest.license, Text(root, "license", Manifest::kMaxTextBytes));
  ASSIGN_OR_RETURN(manifest.tool, Text(root, "tool", kMaxNameBytes));
  ASSIGN_OR_RETURN(const std::string published, Text(root, "published", kMaxNameBytes));
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, published, &manifest.published, &error)) {
    return Wrong("published", absl::StrCat("'", Shown(published), "'"), "a time as 2026-01-31T12:00:00Z");
  }
  Element provenance;
  if (root["provenance"].get(provenance) == simdjson::SUCCESS) {
    ASSIGN_OR_RETURN(const std::string source, Text(provenance, "source_digest", kMaxNameBytes));
    if (!source.empty()) {
      ASSIGN_OR_RETURN(manifest.provenance.source, ReadDigest(provenance, "source_digest"));
    }
    ASSIGN_OR_RETURN(manifest.provenance.plan, Text(provenance, "plan", Provenance::kMaxPlanBytes));
    ASSIGN_OR_RETURN(manifest.provenance.tool, Text(provenance, "tool", kMaxNameBytes));
  }
  RETURN_IF_ERROR(ReadFiles(root, &manifest.files));
  if (manifest.FindFile("model.onnx") == nullptr) return Wrong("files", "no 'model.onnx'", "a model");
  ASSIGN_OR_RETURN(const simdjson::dom::array signatures, List(root, "signatures", kMaxSignatures));
  for (const Element from : signatures) {
    Signature& signature = manifest.signatures.emplace_back();
    ASSIGN_OR_RETURN(signature.name, Text(from, "name", kMaxNameBytes));
    ASSIGN_OR_RETURN(signature.inputs, ReadTensors(from, "inputs"));
    ASSIGN_OR_RETURN(signature.outputs, ReadTensors(from, "outputs"));
  }
  ASSIGN_OR_RETURN(const simdjson::dom::array portals, List(root, "portals", kMaxPortals));
  for (const Element from : portals) {
    PortalTarget& portal = manifest.portals.emplace_back();
    ASSIGN_OR_RETURN(portal.name, Text(from, "target", kMaxNameBytes));
    ASSIGN_OR_RETURN(const std::string digest, Text(from, "digest", kMaxNameBytes));
    if (!digest.empty()) {
      ASSIGN_OR_RETURN(portal.digest, ReadDigest(from, "digest"));
    }
  }
  return manifest;
}

}  // namespace

uint64_t Manifest::bytes() const {
  uint64_t sum = 0;
  for (const ModuleFile& file : files) sum += file.bytes;
  return sum;
}

const ModuleFile* Manifest::FindFile(absl::string_view path) const {
  const auto found = absl::c_find_if(files, [&](const ModuleFile& file) { return file.path == path; });
  return found == files.end() ? nullptr : &*found;
}

std::string FormatManifest(const Manifest& manifest) {
  std::string out = absl::StrCat("{\n  \"portico_manifest\": ", kFormat, ",\n");
  AddLine("handle", manifest.handle.ToString(), &out);
  AddLine("digest", manifest.digest.Hex(), &out);
  AddLine("family", manifest.family, &out);
  AddLine("description", manifest.description, &out);
  AddLine("license", manifest.license, &out);
  AddLine("published", absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", manifest.published, absl::UTCTimeZone()), &out);
  AddLine("tool", manifest.tool, &out);
  if (!manifest.provenance.empty()) {
    out.append("  \"provenance\": {");
    AddText("source_digest", manifest.provenance.source.empty() ? "" : manifest.provenance.source.Hex(), &out);
    out.append(", ");
    AddText("tool", manifest.provenance.tool, &out);
    out.append(", ");
    AddText("plan", manifest.provenance.plan, &out);
    out.append("},\n");
  }
  AddList("files", manifest.files, &out, [&](const ModuleFile& file) {
    AddText("path", file.path, &out);
    absl::StrAppend(&out, ", \"bytes\": ", file.bytes, ", ");
    AddText("sha256", file.sha256.Hex(), &out);
  });
  out.append(",\n");
  AddList("signatures", manifest.signatures, &out, [&](const Signature& signature) {
    AddText("name", signature.name, &out);
    AddTensors("inputs", signature.inputs, &out);
    AddTensors("outputs", signature.outputs, &out);
  });
  out.append(",\n");
  AddList("portals", manifest.portals, &out, [&](const PortalTarget& portal) {
    AddText("target", portal.name, &out);
    out.append(", ");
    AddText("digest", portal.digest.empty() ? "" : portal.digest.Hex(), &out);
  });
  out.append("\n}\n");
  return out;
}

absl::StatusOr<Manifest> ParseManifest(absl::string_view text) {
  if (text.size() > Manifest::kMaxBytes) {
    return Wrong("file", absl::StrCat(text.size(), " bytes"), absl::StrCat("at most ", Manifest::kMaxBytes));
  }
  try {
    simdjson::dom::parser parser(Manifest::kMaxBytes);
    return Read(parser.parse(simdjson::padded_string(text.data(), text.size())));
  } catch (const simdjson::simdjson_error& error) {
    return Wrong("file", error.what(), "JSON as 'portico hub publish' writes it");
  }
}

absl::Status CheckModulePath(absl::string_view path) {
  const auto refuse = [&](absl::string_view got, absl::string_view want) {
    return Wrong(absl::StrCat("file '", Shown(path), "'"), got, want);
  };
  if (path.size() > kMaxPathBytes) return refuse("too long a path", absl::StrCat("at most ", kMaxPathBytes, " bytes"));
  const std::vector<absl::string_view> parts = absl::StrSplit(path, '/');
  if (parts.size() > kMaxPathParts) return refuse("too deep a folder", absl::StrCat("at most ", kMaxPathParts));
  for (const absl::string_view part : parts) {
    if (part.empty() || part[0] == '.') {
      return refuse("a part that is empty or begins with a dot", "a path that stays in the folder");
    }
  }
  const auto bad = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F || c == '\\'; };
  if (absl::c_any_of(path, bad)) return refuse("a control character or a backslash", "a plain name");
  if (path == kManifestFile) return refuse("the manifest itself", "another name");
  return absl::OkStatus();
}

}  // namespace portico
