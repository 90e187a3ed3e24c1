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

namespace portico {

/// Versions of a product, answered side by side by a node in this process that has no listeners, together with all that
/// their portals call: what a mesh would answer, without one. Run() blocks; for one thread.
class ProductTrial {
 public:
  /// The version folder of what a portal calls; NOT_FOUND where nobody has it.
  using FindTarget = std::function<absl::StatusOr<std::string>(const PortalTarget& target)>;

  struct Answer {
    const Signature* signature = nullptr;
    /// In the signature's order.
    std::vector<Tensor> outputs;
  };

  /// `folders`: the version folders of `product`, which Run() counts from 0; they are left as they are.
  /// FAILED_PRECONDITION for portals that look up in tables, which a node by itself does not have.
  static absl::StatusOr<std::unique_ptr<ProductTrial>> Start(const std::string& product,
                                                             const std::vector<std::string>& folders,
                                                             const FindTarget& find);
  virtual ~ProductTrial() = default;

  /// `signature` empty: serving_default. What a client of a node would be told.
  virtual absl::StatusOr<Answer> Run(size_t version, const std::string& signature, std::vector<NamedTensor> inputs) = 0;
  virtual const Digest& digest(size_t version) const = 0;
};

}  // namespace portico
