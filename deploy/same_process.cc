#include "deploy/same_process.h"

#include <string>

#include "absl/algorithm/container.h"

namespace portico {
namespace {

/// Of a model that both serve: whether it is run by the same.
bool SameProviders(const Revision& from, const Revision& to, const std::string& name) {
  const Revision::Model* a = from.FindModel(name);
  const Revision::Model* b = to.FindModel(name);
  return a == nullptr || b == nullptr || a->providers == b->providers;
}

}  // namespace

bool SameProcess(const Revision& from, const Revision::Node& a, const Revision& to, const Revision::Node& b) {
  return a.peer == b.peer && a.grpc == b.grpc && a.http == b.http && a.workers == b.workers && a.zone == b.zone &&
         a.http_threads == b.http_threads && a.huge_pages_mib == b.huge_pages_mib && a.cpus == b.cpus &&
         a.providers == b.providers && a.keys == b.keys && absl::c_all_of(b.serve, [&](const std::string& model) {
           return !absl::c_linear_search(a.serve, model) || SameProviders(from, to, model);
         });
}

}  // namespace portico
