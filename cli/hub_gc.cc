#include "cli/hub_gc.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/byte_text.h"
#include "base/status_macros.h"
#include "deploy/mesh_pins.h"
#include "deploy/run_pins.h"
#include "hub/sweep.h"

namespace portico {
namespace {

absl::StatusOr<SweepPlan> Sweep(const HubGcFlags& flags, const SweepOptions& options) {
  if (!flags.from_store) {
    ASSIGN_OR_RETURN(const HubCache cache, flags.hub.OpenCache());
    return SweepCache(cache, options);
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, flags.hub.OpenStore());
  if (absl::StartsWith(store->url(), "/")) return SweepStore(store->url(), options);
  return absl::InvalidArgumentError(
      absl::StrCat("store '", store->url(), "': got a server, want the folder that it serves; remove there"));
}

}  // namespace

absl::Status RunHubGc(const HubGcFlags& flags) {
  const bool named = !flags.meshes.empty() || !flags.run_folders.empty();
  if (!named && !flags.all) {
    return absl::InvalidArgumentError(
        "got no --mesh, want the mesh files whose modules stay, and --run-folder of those that run; or --all where "
        "there are none");
  }
  if (named && flags.all) {
    return absl::InvalidArgumentError("got --all beside --mesh or --run-folder, want one of them");
  }
  SweepOptions options;
  options.dry_run = flags.dry_run;
  for (const std::string& text : flags.handles) {
    ASSIGN_OR_RETURN(options.asked.emplace_back(), ParseHandle(text));
  }
  for (const std::string& mesh : flags.meshes) RETURN_IF_ERROR(AddMeshPins(mesh, &options.pins));
  for (const std::string& folder : flags.run_folders) RETURN_IF_ERROR(AddRunPins(folder, &options.pins));
  ASSIGN_OR_RETURN(const SweepPlan plan, Sweep(flags, options));
  for (const SweepPlan::Kept& kept : plan.kept) {
    absl::PrintF("keeps %s, which %s %s\n", kept.handle.ToString(), absl::StrJoin(kept.users, " and "),
                 kept.users.size() == 1 ? "uses" : "use");
  }
  for (const Handle& handle : plan.busy) {
    absl::PrintF("keeps %s, which another process is pulling\n", handle.ToString());
  }
  for (const Manifest& module : plan.removed) {
    absl::PrintF("%s %s, %s\n", flags.dry_run ? "would remove" : "removed", module.handle.ToString(),
                 ByteText(module.bytes()));
  }
  absl::PrintF("%d of %d modules %s, %s\n", plan.removed.size(), plan.modules, flags.dry_run ? "would go" : "have gone",
               ByteText(plan.removed_bytes()));
  return absl::OkStatus();
}

}  // namespace portico
