#include "remote_op/drift_watch.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"

namespace portico {
namespace {

std::string Percent(double share) { return absl::StrFormat("%.4g%%", 100 * share); }

}  // namespace

bool DriftWatch::Judge(const ShareWindow::Counts& counts) {
  const DriftAlarm::Change change = alarm_.Judge(counts);
  if (change == DriftAlarm::Change::kNone) return alarm_.drifted();
  const std::string got = absl::StrCat(options_.what, ": got ", Percent(counts.share()), " of ", counts.trials,
                                       " in the last ", absl::FormatDuration(options_.over), ", want ",
                                       Percent(options_.expected), " within ", Percent(options_.within));
  if (change == DriftAlarm::Change::kDrifted) {
    LogWarning(absl::StrCat(got, "; ", options_.remedy));
  } else {
    LogInfo(absl::StrCat(got, ": as expected again"));
  }
  return alarm_.drifted();
}

}  // namespace portico
