#include "cli/hub_upgrade.h"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/recorded_requests.h"
#include "cli/report_error.h"
#include "cli/terminal_text.h"
#include "cli/upgrade_comparison.h"
#include "cli/upgrade_targets.h"
#include "cli/version.h"
#include "deploy/package_reader.h"
#include "deploy/product_trial.h"
#include "hub/module_fit.h"
#include "hub/package_files.h"
#include "models/graph/retarget_portals.h"
#include "models/package/folder_transaction.h"
#include "models/package/package.h"
#include "models/package/provenance.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// The product as it is.
struct Product {
  std::string name;
  fs::path folder;
  int64_t version = 0;
};

absl::StatusOr<Product> FindProduct(const HubUpgradeFlags& flags) {
  std::error_code error;
  Product product;
  product.folder = fs::path(flags.product).lexically_normal();
  if (!product.folder.has_filename()) product.folder = product.folder.parent_path();
  const auto refused = [&](absl::string_view got) {
    return absl::InvalidArgumentError(
        absl::StrCat("product '", flags.product, "': got ", got,
                     ", want the folder of one of its versions, such as 'packages/digit/1', or the folder of all"));
  };
  if (!fs::is_directory(product.folder, error)) {
    return refused(fs::exists(product.folder, error) ? "a file" : "nothing there");
  }
  if (!fs::exists(product.folder / "model.onnx", error)) {
    ASSIGN_OR_RETURN(const std::vector<VersionFolder> versions, ListVersions(product.folder.string()));
    if (versions.empty()) return refused("a folder without model.onnx and without version folders");
    product.folder = versions.back().folder;
  }
  const fs::path absolute = fs::absolute(product.folder, error);
  if (!absl::SimpleAtoi(absolute.filename().string(), &product.version)) {
    return refused("a folder whose name is not a version");
  }
  product.name = flags.model.empty() ? absolute.parent_path().filename().string() : flags.model;
  return product;
}

absl::Status CheckOut(const std::string& out, const Product& product) {
  const std::string example = (product.folder.parent_path() / absl::StrCat(product.version + 1)).string();
  if (out.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--out: got none, want the folder of the product's new version, such as '", example, "'"));
  }
  int64_t version = 0;
  const std::string name = fs::path(out).filename().string();
  if (!absl::SimpleAtoi(name, &version) || version < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--out: got '", out, "', want a folder whose name is the new version, such as '", example, "'"));
  }
  std::error_code error;
  if (fs::exists(fs::symlink_status(out, error))) {
    return absl::AlreadyExistsError(absl::StrCat("--out: got '", out,
                                                 "', which is there already, want a new folder: versions never change; "
                                                 "choose the next number"));
  }
  return absl::OkStatus();
}

absl::Status NoRequests(const Product& product) {
  return absl::InvalidArgumentError(
      absl::StrCat("--requests: got none, want recorded requests of '", product.name,
                   "', on which both versions are compared; record some where it serves:\n"
                   "  portico serve --model ",
                   product.name, "=", product.folder.parent_path().string(),
                   " --request-log=requests --request-log-sample=0.05\n"
                   "  PORTICO_REQUEST_LOG=requests PORTICO_REQUEST_LOG_SAMPLE=0.05 portico up mesh.yaml"));
}

/// `why` the product's portals could not be moved, with what of the store it calls.
absl::Status NotMoved(const Product& product, const absl::Status& why, UpgradeTargets& targets) {
  const std::string subject = absl::StrCat("product '", product.folder.string(), "'");
  PackageReader reader;
  const auto facts = reader.Read(product.name, {product.version, product.folder.string()});
  if (!facts.ok()) return WithContext(subject, why);
  ASSIGN_OR_RETURN(const std::vector<std::string> handles, targets.HandlesOf((*facts)->portals));
  if (handles.empty()) return WithContext(subject, why);
  return absl::Status(why.code(), absl::StrCat(subject, ": ", why.message(), "; of this store it calls ",
                                               absl::StrJoin(handles, ", ")));
}

/// Puts the files of a version whose model is `model` into `folder`; the others are those of `product`.
absl::Status WriteFiles(const Product& product, const Model& model, const fs::path& folder) {
  RETURN_IF_ERROR(model.Save(folder.string()));
  ASSIGN_OR_RETURN(std::vector<PackageFile> files, ListPackageFiles(product.folder));
  // What the model was made of is in the new one's own files.
  std::erase_if(files,
                [&](const PackageFile& file) { return file.path == "model.onnx" || file.path == "weights.bin"; });
  return CopyPackageFiles(files, folder).status();
}

}  // namespace

absl::Status RunHubUpgrade(const HubUpgradeFlags& flags) {
  ASSIGN_OR_RETURN(const Handle from_handle, ParseHandle(flags.from));
  ASSIGN_OR_RETURN(const Handle to_handle, ParseHandle(flags.to));
  if (from_handle == to_handle) {
    return absl::InvalidArgumentError(absl::StrCat("--to: got '", flags.to, "' as --from, want another version"));
  }
  ASSIGN_OR_RETURN(const Product product, FindProduct(flags));
  RETURN_IF_ERROR(CheckOut(flags.out, product));
  if (flags.requests.empty()) return NoRequests(product);
  ASSIGN_OR_RETURN(RecordedRequests requests, RecordedRequests::Open(flags.requests));

  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, flags.hub.OpenStore());
  ASSIGN_OR_RETURN(HubCache cache, flags.hub.OpenCache());
  ASSIGN_OR_RETURN(const HubCache::Pulled from, cache.Pull(*store, from_handle));
  ASSIGN_OR_RETURN(const HubCache::Pulled to, cache.Pull(*store, to_handle));
  RETURN_IF_ERROR(CheckStandsIn(from.manifest, to.manifest));
  UpgradeTargets targets(*store, cache, flags.mesh);
  const absl::Status served = targets.CheckServed(to);
  if (!served.ok() && !flags.dry_run) return served;
  targets.Add(from);
  targets.Add(to);

  WeightStore weights;
  ASSIGN_OR_RETURN(const Package package, LoadPackage(product.name, product.folder.string(), weights));
  const PortalTarget old_target = {from_handle.Model(), from.manifest.digest};
  absl::StatusOr<RetargetedModel> moved =
      RetargetPortals(package.model, old_target, {to_handle.Model(), to.manifest.digest});
  if (!moved.ok()) return NotMoved(product, moved.status(), targets);
  Provenance provenance;
  provenance.source = package.digest;
  provenance.plan = absl::StrCat("hub upgrade: {from: ", flags.from, ", to: ", flags.to, "}\n");
  provenance.tool = VersionText();
  ASSIGN_OR_RETURN(const Model model, WithProvenance(moved->model, provenance));

  FolderTransaction transaction;
  ASSIGN_OR_RETURN(const fs::path staged, transaction.Begin(flags.out));
  RETURN_IF_ERROR(WriteFiles(product, model, staged));
  // By its name alone the old version would call what the new one does: the highest version that is there.
  FolderTransaction with_digests;
  fs::path before = product.folder;
  if (moved->by_name) {
    ASSIGN_OR_RETURN(const RetargetedModel same, RetargetPortals(package.model, old_target, old_target));
    ASSIGN_OR_RETURN(before, with_digests.Begin(flags.out));
    RETURN_IF_ERROR(WriteFiles(product, same.model, before));
  }
  std::optional<Tolerance> tolerance;
  if (flags.absolute.has_value() || flags.relative.has_value()) {
    tolerance = Tolerance{flags.relative.value_or(0), flags.absolute.value_or(0)};
  }
  UpgradeComparison comparison({product.name, tolerance, flags.max_changed, flags.limit});
  Digest digest;
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<ProductTrial> trial,
                     ProductTrial::Start(product.name, {before.string(), staged.string()},
                                         {[&](const PortalTarget& target) { return targets.Find(target); },
                                          [&](const std::string& group) { return targets.FindTables(group); }}));
    RETURN_IF_ERROR(comparison.Run(std::move(requests), *trial));
    digest = trial->digest(1);
  }
  absl::PrintF("%s: %s → %s at portal %s\n%s", ForTerminal(product.name), flags.from, flags.to,
               ForTerminal(absl::StrJoin(moved->portals, ", ")), comparison.Text());
  std::fflush(stdout);
  if (const absl::Status status = comparison.Judge(); !status.ok()) {
    if (!flags.accept) {
      return absl::Status(status.code(),
                          absl::StrCat(status.message(), "; nothing was written. --accept takes it as it is"));
    }
    absl::PrintF("accepted: %s\n", status.message());
  }
  if (flags.dry_run) {
    absl::PrintF("would write %s, digest %s\n", flags.out, digest.Short());
    if (!served.ok()) absl::PrintF("not yet: %s\n", ForTerminal(served.message()));
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(transaction.Commit());
  absl::PrintF(
      "written %s, digest %s\n"
      "%s answers with it in every mesh that serves %s, beside %s as long as anybody calls that.\n",
      flags.out, digest.Short(), ForTerminal(product.name), flags.to, flags.from);
  if (flags.mesh.empty()) {
    absl::PrintF(
        "A mesh that does not takes no other change and does not start again: name %s now among 'models' and in the\n"
        "'serve' of a node, or remove %s until it is there. --mesh FILE checks that before anything is written.\n",
        flags.to, flags.out);
  }
  return absl::OkStatus();
}

void AddHubUpgrade(CLI::App& hub, int& exit_code) {
  auto flags = std::make_shared<HubUpgradeFlags>();
  CLI::App* command =
      hub.add_subcommand("upgrade", "Move one product to another version of a module, compared on recorded requests");
  command->add_option("product", flags->product, "A version folder of the product; of a folder of versions the highest")
      ->required()
      ->type_name("FOLDER");
  command->add_option("--from", flags->from, "The module that it calls")->required()->type_name("HANDLE");
  command->add_option("--to", flags->to, "The module that it shall call")->required()->type_name("HANDLE");
  command
      ->add_option("--requests", flags->requests,
                   "Recorded requests of the product (--request-log): files, or folders of them")
      ->type_name("LOG...");
  command->add_option("--out", flags->out, "The new version's folder, which is not there yet")->type_name("FOLDER");
  command
      ->add_option("--model", flags->model, "Whose recorded requests count; default: the name of the product's folder")
      ->type_name("NAME");
  command
      ->add_option("--mesh", flags->mesh,
                   "The mesh file that the product is in: what it calls and the store does not have, its tables; must "
                   "serve --to")
      ->type_name("MESH.YAML");
  command
      ->add_option(
          "--max-changed", flags->max_changed,
          "Share of rows, by output, whose answer may be another: another largest element; another value where "
          "there is one")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      ->add_option("--atol", flags->absolute, "A row counts as changed, too, where a number differs by more than this,")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--rtol", flags->relative, "plus this, relatively")->check(CLI::NonNegativeNumber);
  command->add_option("--limit", flags->limit, "Requests to compare at most; 0: all")->capture_default_str();
  command->add_flag("--accept", flags->accept, "Write it whatever the comparison says");
  command->add_flag("--dry-run", flags->dry_run, "Compare, and write nothing");
  flags->hub.AddStore(*command);
  flags->hub.AddCache(*command);
  command->footer(
      "Both versions answer the recorded requests in this process, with all that they call. Only this product moves.\n"
      "First name the new module in the mesh file, among 'models' and in the 'serve' of a node (it needs no caller);\n"
      "then upgrade: a mesh that has the product and not the module takes no change and does not start again.\n"
      "Example:\n"
      "  portico hub upgrade packages/digit/1 --from acme/encoder/1 --to acme/encoder/2 --store /srv/hub \\\n"
      "      --requests /var/log/portico --out packages/digit/2 --mesh mesh.yaml");
  command->callback([flags, &exit_code] {
    SetLogLevel("off");
    while (flags->out.size() > 1 && flags->out.back() == '/') flags->out.pop_back();
    exit_code = ReportError("hub upgrade", RunHubUpgrade(*flags));
  });
}

}  // namespace portico
