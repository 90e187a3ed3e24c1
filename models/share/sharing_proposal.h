#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "models/package/model.h"
#include "models/share/flops.h"
#include "models/split/plan.h"

namespace portico {

/// A model that may share parts with others.
struct Product {
  /// Servable name of what remains of it.
  std::string name;
  /// As it was loaded; what the result is compared with.
  Model model;
  /// The same with constants folded and without what no output needs, which is what is compared and cut; nothing where
  /// that is the same.
  std::optional<Model> folded;

  const Model& graph() const { return folded.has_value() ? *folded : model; }
};

/// `model` with constants folded and dead nodes dropped. `notes` gets what should be known about it. Errors as of
/// FoldConstants().
absl::StatusOr<Product> MakeProduct(std::string name, Model model, WeightStore& store, std::vector<std::string>& notes);

struct SharingOptions {
  /// Name of the first module ("hub/encoder"), from which the others' are made; empty: "hub/<first product>-shared".
  std::string name;
  /// Least that a module saves, in bytes of weights.
  uint64_t min_bytes = 64 << 10;
  /// Most tensors that go into a module, and most that come out.
  int max_tensors = 8;
};

/// A part that several products have, to be served once.
struct SharedModule {
  struct Use {
    /// Place among the products.
    int product = -1;
    /// What to cut out there: `name`, and the tensors at which it begins and ends, in the same order in each product.
    PartPlan part;
    /// One output of each portal in it, in the same order in each product.
    std::vector<std::string> portals;
  };
  std::string name;
  std::vector<Use> uses;
  int nodes = 0;
  uint64_t weight_bytes = 0;
  /// What the products' weights shrink by, all together, less weight_bytes.
  uint64_t saved_bytes = 0;
  /// What a product no longer computes itself. Nothing where ONNX Runtime does not say.
  std::optional<FlopEstimate> flops;
};

struct SharingProposal {
  /// The one that saves most first; none: there is nothing worth sharing.
  std::vector<SharedModule> modules;
  /// What should be known: why something was left out, or is not known.
  std::vector<std::string> notes;
};

/// Finds what at least two of `products` have in common by structure and weights, whatever its tensors are called, in
/// whichever order nodes stand, at whichever place inputs are. INVALID_ARGUMENT naming the product for what cannot be
/// compared (cycles, portals inside of bodies), for fewer than two products, and for two of one name. Weights are
/// neither read nor copied: they were hashed when the models were loaded. Portals are nodes like others: alike where
/// they call the same model, by digest, or the same tables; what they call is not looked at.
absl::StatusOr<SharingProposal> ProposeSharing(absl::Span<const Product> products, const SharingOptions& options);

}  // namespace portico
