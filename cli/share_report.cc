#include "cli/share_report.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "cli/byte_text.h"
#include "cli/text_table.h"

namespace portico {
namespace {

const std::string& NameOf(absl::Span<const Product> products, int product) {
  return products[static_cast<size_t>(product)].name;
}

/// `text` as YAML's double-quoted scalar, which flow mappings take whatever is in it.
std::string YamlQuoted(absl::string_view text) {
  // C's escapes are YAML's, but for this one.
  return absl::StrCat("\"", absl::StrReplaceAll(absl::Utf8SafeCHexEscape(text), {{"\\\\", "\\\\"}, {"\\'", "'"}}),
                      "\"");
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

std::string SharedMeshText(const SharedModels& shared, const std::string& out) {
  std::vector<std::string> modules;
  std::vector<std::string> products;
  for (const SplitModel& module : shared.modules) modules.push_back(module.name);
  for (const SharedModels::Rewritten& product : shared.products) products.push_back(product.model.name);
  std::string text = "mesh: shared\nmodels:\n";
  for (const std::vector<std::string>* names : {&modules, &products}) {
    for (const std::string& name : *names) {
      absl::StrAppend(&text, "  ", name, ": {path: ", YamlQuoted(absl::StrCat(out, "/", name)), "}\n");
    }
  }
  absl::StrAppend(&text, "nodes:\n  hub: {serve: [", absl::StrJoin(modules, ", "), "]}\n  apps: {serve: [",
                  absl::StrJoin(products, ", "), "], grpc: 8500, http: 8501}\n");
  return text;
}

}  // namespace portico
