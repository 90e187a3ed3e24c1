#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/digest.h"
#include "base/tensor.h"
#include "models/graph/portal_target.h"
#include "models/package/signature.h"
#include "router/revision.h"

namespace portico {

/// Versions of a product, answered side by side by a node in this process that has no listeners, together with all that
/// their portals call: what a mesh would answer, without one. Run() blocks; for one thread.
class ProductTrial {
 public:
  struct Finder {
    /// The version folder of what a portal calls; NOT_FOUND where nobody has it.
    std::function<absl::StatusOr<std::string>(const PortalTarget& target)> target;
    /// A revision that has the group of tables that a portal looks up in, pinned; an error where nobody knows one.
    /// What is returned lives as long as the finder.
    std::function<absl::StatusOr<const Revision*>(const std::string& group)> tables;
  };

  struct Answer {
    const Signature* signature = nullptr;
    /// In the signature's order.
    std::vector<Tensor> outputs;
  };

  /// `folders`: the version folders of `product`, which Run() counts from 0; they are left as they are. Shards of
  /// tables are mapped where they lie. Removes what trials of processes that were killed left among temporary files.
  static absl::StatusOr<std::unique_ptr<ProductTrial>> Start(const std::string& product,
                                                             const std::vector<std::string>& folders,
                                                             const Finder& find);
  virtual ~ProductTrial() = default;

  /// `signature` empty: serving_default. What a client of a node would be told.
  virtual absl::StatusOr<Answer> Run(size_t version, const std::string& signature, std::vector<NamedTensor> inputs) = 0;
  virtual const Digest& digest(size_t version) const = 0;
};

}  // namespace portico
