#include "deploy/run_pins.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "hub/handle.h"
#include "router/revision.h"
#include "router/revision_pointers.h"

namespace portico {

absl::Status AddRunPins(const std::string& run_folder, ModulePins* pins) {
  const absl::StatusOr<RevisionPointers> pointers = ReadRevisionPointers(run_folder + "/current");
  if (!pointers.ok()) {
    return absl::Status(pointers.status().code(),
                        absl::StrCat("run folder '", run_folder, "': ", pointers.status().message(),
                                     "; want the --run-folder of a mesh that 'portico up' runs"));
  }
  std::set<uint64_t> numbers;
  for (uint64_t number = pointers->oldest == 0 ? pointers->current : pointers->oldest; number <= pointers->current;
       ++number) {
    numbers.insert(number);
  }
  if (pointers->next != 0) numbers.insert(pointers->next);
  for (const uint64_t number : numbers) {
    const absl::StatusOr<Revision> revision = ReadRevision(RevisionDocument(run_folder, number));
    // One that was refused has another name, and nobody serves it.
    if (absl::IsNotFound(revision.status()) && number != pointers->current) continue;
    if (!revision.ok()) return WithContext(absl::StrCat("run folder '", run_folder, "'"), revision.status());
    const std::string user = absl::StrCat("revision ", number, " of the mesh in '", run_folder, "'");
    for (const Revision::Model& model : revision->models) {
      for (const Revision::Pin& pin : model.pins) {
        pins->digests[pin.digest].insert(user);
        const absl::StatusOr<Handle> handle = ParseHandle(absl::StrCat(model.name, "/", pin.version));
        if (handle.ok()) pins->handles[*handle].insert(user);
      }
      for (const Revision::Call& call : model.calls) {
        if (!call.digest.empty()) pins->digests[call.digest].insert(user);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace portico
