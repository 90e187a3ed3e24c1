#include "remote_op/portal.h"

#include "absl/strings/str_cat.h"

namespace portico {

absl::StatusOr<std::unique_ptr<Portal>> NewPortal(const PortalSpec& spec, Router& router) {
  // The table of this folder: a portal op is one line here.
  if (spec.op_type == "Remote") return NewRemote(spec, router);
  if (spec.op_type == "Cascade") return NewCascade(spec, router);
  if (spec.op_type == "Experts") return NewExperts(spec, router);
  if (spec.op_type == "EmbeddingBag") return NewEmbeddingBag(spec, router);
  return absl::InvalidArgumentError(absl::StrCat("portal '", spec.node_name, "': got op '", spec.op_type,
                                                 "', want one of Remote, Cascade, Experts, EmbeddingBag"));
}

}  // namespace portico
