#include "node/servables/memory_budget.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace portico {

BudgetDecision DecideLoad(uint64_t budget, const std::string& name, uint64_t bytes,
                          std::vector<ResidentModel> resident) {
  BudgetDecision decision;
  uint64_t fixed = 0, used = 0, leaving = 0;
  for (const ResidentModel& model : resident) {
    if (model.fixed) fixed += model.bytes;
    used += model.bytes + model.leaving_bytes;
    leaving += model.leaving_bytes;
  }
  if (budget == 0 || used + bytes <= budget) {
    decision.fits = true;
    return decision;
  }
  if (fixed + bytes > budget) {
    decision.possible = absl::ResourceExhaustedError(
        absl::StrCat("model '", name, "': got ", bytes, " bytes to load on demand beside ", fixed,
                     " bytes of models that stay, want at most ", budget, " in all; raise the memory budget"));
    return decision;
  }
  std::sort(resident.begin(), resident.end(),
            [](const ResidentModel& a, const ResidentModel& b) { return a.last_used < b.last_used; });
  used -= leaving;
  for (const ResidentModel& model : resident) {
    if (used + bytes <= budget) break;
    if (!model.idle || model.fixed || model.bytes == 0 || model.name == name) continue;
    used -= model.bytes;
    decision.unload.push_back(model.name);
  }
  return decision;
}

}  // namespace portico
