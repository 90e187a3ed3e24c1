#include "cli/share_report.h"

#include <filesystem>
#include <set>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/byte_text.h"
#include "cli/text_table.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

const std::string& NameOf(absl::Span<const Product> products, int product) {
  return products[static_cast<size_t>(product)].name;
}

/// `text` as YAML's double-quoted scalar, which flow mappings take whatever is in it.
std::string YamlQuoted(absl::string_view text) {
  // C's escapes are YAML's, but for this one.
  return absl::StrCat("\"", absl::StrReplaceAll(absl::Utf8SafeCHexEscape(text), {{"\\\\", "\\\\"}, {"\\'", "'"}}),
                      "\"");
}

struct MeshModel {
  std::string name;
  std::string path;
  /// Empty: the latest.
  std::set<int64_t> versions = {};
};

/// Has the mesh serve what is called, beside `version` where that is of the same name.
absl::Status AddCalled(const CalledModels::Called& called, int64_t version, std::vector<MeshModel>& modules,
                       std::vector<MeshModel>& products) {
  const fs::path folder =
      fs::path(called.path).filename() == "model.onnx" ? fs::path(called.path).parent_path() : fs::path(called.path);
  int64_t number = 0;
  if (!absl::SimpleAtoi(folder.filename().string(), &number)) {
    return absl::FailedPreconditionError(absl::StrCat("'", called.path, "' is called too, as ", called.name,
                                                      "; put it into a version folder and name that here"));
  }
  const std::string path = folder.parent_path().string();
  for (std::vector<MeshModel>* models : {&modules, &products}) {
    for (MeshModel& model : *models) {
      if (model.name != called.name) continue;
      std::error_code error;
      if (fs::weakly_canonical(model.path, error) != fs::weakly_canonical(path, error)) {
        return absl::FailedPreconditionError(absl::StrCat("'", called.path, "' is called too, as ", called.name,
                                                          "; put it beside the versions in '", model.path,
                                                          "' and name both"));
      }
      if (model.versions.empty()) model.versions.insert(version);
      model.versions.insert(number);
      return absl::OkStatus();
    }
  }
  modules.push_back({called.name, path, {number}});
  return absl::OkStatus();
}

}  // namespace

std::string FlopText(const SharedModule& module) {
  if (!module.flops.has_value()) return "unknown";
  double value = module.flops->per_row;
  const char* unit = "FLOP";
  for (const char* larger : {"kFLOP", "MFLOP", "GFLOP", "TFLOP"}) {
    if (value < 1000) break;
    value /= 1000;
    unit = larger;
  }
  if (module.flops->unknown_nodes > 0 && module.flops->per_row == 0) return "unknown";
  return absl::StrFormat("%s%.3g %s", module.flops->unknown_nodes > 0 ? ">= " : "", value, unit);
}

std::string SharingText(const SharingProposal& proposal, absl::Span<const Product> products, size_t columns) {
  uint64_t all = 0;
  for (const Product& product : products) all += product.graph().weight_bytes();
  std::string text;
  if (proposal.modules.empty()) {
    absl::StrAppend(&text, "nothing to share: ", products.size(), " models, ", ByteText(all), " of weights\n");
  } else {
    TextTable table({"MODULE", "PRODUCTS", "NODES", "WEIGHTS", "SAVED", "A ROW", "IN", "OUT"}, 2);
    uint64_t saved = 0;
    for (const SharedModule& module : proposal.modules) {
      saved += module.saved_bytes;
      const auto names = absl::StrJoin(module.uses, " ", [&](std::string* out, const SharedModule::Use& use) {
        out->append(NameOf(products, use.product));
      });
      const PartPlan& part = module.uses.front().part;
      table.Add({module.name, names, absl::StrCat(module.nodes), ByteText(module.weight_bytes),
                 ByteText(module.saved_bytes), FlopText(module), absl::StrCat(part.inputs.size()),
                 absl::StrCat(part.outputs.size())});
    }
    absl::StrAppend(&text, table.Print(columns));
    for (const SharedModule& module : proposal.modules) {
      for (const SharedModule::Use& use : module.uses) {
        absl::StrAppend(&text, module.name, " in ", NameOf(products, use.product), ": ",
                        absl::StrJoin(use.part.inputs, ", "), " -> ", absl::StrJoin(use.part.outputs, ", "), "\n");
      }
    }
    absl::StrAppend(&text, "saved: ", ByteText(saved), " of ", ByteText(all), " of weights\n");
  }
  for (const std::string& note : proposal.notes) absl::StrAppend(&text, "note: ", note, "\n");
  return text;
}

std::string SharedMeshText(const SharedModels& shared, const CalledModels& called, const std::string& out,
                           int64_t version) {
  std::vector<MeshModel> modules;
  std::vector<MeshModel> products;
  std::string notes;
  for (const SplitModel& module : shared.modules) modules.push_back({module.name, absl::StrCat(out, "/", module.name)});
  for (const SharedModels::Rewritten& product : shared.products) {
    products.push_back({product.model.name, absl::StrCat(out, "/", product.model.name)});
  }
  for (const auto& one : called.found()) {
    const absl::Status added = AddCalled(*one, version, modules, products);
    if (!added.ok()) absl::StrAppend(&notes, "# ", added.message(), "\n");
  }
  std::string text = absl::StrCat(notes, "mesh: shared\nmodels:\n");
  for (const std::vector<MeshModel>* models : {&modules, &products}) {
    for (const MeshModel& model : *models) {
      absl::StrAppend(&text, "  ", model.name, ": {path: ", YamlQuoted(model.path));
      if (!model.versions.empty()) absl::StrAppend(&text, ", versions: [", absl::StrJoin(model.versions, ", "), "]");
      absl::StrAppend(&text, "}\n");
    }
  }
  if (!called.tables().empty()) absl::StrAppend(&text, "tables:\n");
  for (const auto& [group, folder] : called.tables()) {
    absl::StrAppend(&text, "  ", group, ": {path: ", YamlQuoted(folder), "}\n");
  }
  const auto name = [](std::string* line, const MeshModel& model) { line->append(model.name); };
  absl::StrAppend(&text, "nodes:\n  hub: {serve: [", absl::StrJoin(modules, ", ", name), "]}\n");
  if (!called.tables().empty()) {
    const auto group = [](std::string* line, const auto& entry) { line->append(entry.first); };
    absl::StrAppend(&text, "  rows: {serve: [", absl::StrJoin(called.tables(), ", ", group), "]}\n");
  }
  absl::StrAppend(&text, "  apps: {serve: [", absl::StrJoin(products, ", ", name), "], grpc: 8500, http: 8501}\n");
  return text;
}

}  // namespace portico
