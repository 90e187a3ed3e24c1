#include "node/frontend/url_ref.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"

namespace portico {

ServableRef RefByUrl(const Servables& servables, ServableRef ref) {
  if (!absl::StrContains(ref.name, "--") || servables.Has(ref.name)) return ref;
  std::string name = absl::StrReplaceAll(ref.name, {{"--", "/"}});
  if (servables.Has(name)) ref.name = std::move(name);
  return ref;
}

}  // namespace portico
