#include "deploy/experts_watch_reader.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "deploy/watch_keys.h"

namespace portico {

absl::Status ReadExpertsWatchKeys(const YamlNode& from, const std::string& subject, size_t experts,
                                  ExpertsWatch* watch) {
  const YamlNode* expected = from.Find("expected");
  if (expected == nullptr) return absl::OkStatus();
  const WatchKeys keys(*expected, absl::StrCat(subject, ": expected"));
  RETURN_IF_ERROR(expected->CheckMap(keys.subject(), {"load", "load_within", "entropy", "entropy_within", "over"}));
  RETURN_IF_ERROR(keys.Shares("load", &watch->load));
  RETURN_IF_ERROR(keys.Share("load_within", &watch->load_within));
  RETURN_IF_ERROR(keys.Share("entropy", &watch->entropy));
  RETURN_IF_ERROR(keys.Share("entropy_within", &watch->entropy_within));
  RETURN_IF_ERROR(keys.Time("over", absl::Seconds(1), &watch->over));
  if (absl::Status sane = watch->Check(experts, ""); !sane.ok()) {
    return expected->Error(absl::StrCat(keys.subject(), ": ", sane.message()));
  }
  return absl::OkStatus();
}

}  // namespace portico
