#include "deploy/mesh_transition.h"

#include "absl/strings/str_cat.h"

namespace portico {

absl::Status CheckTransition(const Revision& from, const Revision& to) {
  for (const Revision::Model& model : to.models) {
    const Revision::Model* before = from.FindModel(model.name);
    if (before == nullptr) continue;
    for (const Revision::Pin& pin : model.pins) {
      for (const Revision::Pin& old : before->pins) {
        if (old.version != pin.version || old.digest == pin.digest) continue;
        return absl::InvalidArgumentError(
            absl::StrCat("model '", model.name, "' version ", pin.version, ": got digest ", pin.digest.Short(), " in '",
                         model.path, "', want ", old.digest.Short(),
                         ", which serves; give what is new a higher version number, or stop the mesh first"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace portico
