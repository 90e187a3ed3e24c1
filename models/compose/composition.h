#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "models/graph/cascade_watch.h"
#include "models/graph/experts_watch.h"
#include "models/package/signature.h"

namespace portico {

/// A model of the mesh, and how it takes part in a composition.
struct CompositionMember {
  using Names = std::vector<std::pair<std::string, std::string>>;

  std::string model;
  std::string signature = std::string(kDefaultSignature);
  /// Whether its graph is copied into the composition (true) or called through a portal. None: as is usual for its
  /// part.
  std::optional<bool> copied;
  /// Whether the portal has the digest of the version that there is at composition. False: which version answers is the
  /// revision's business.
  bool pinned = false;
  /// The member's name of an input or output → the composition's, where they differ.
  Names inputs;
  Names outputs;
  /// Inputs (the member's names) that do not count rows, though their shape would allow it.
  std::vector<std::string> shared;
  /// Of a stage of a cascade but the first: which rows go on to it.
  std::string when;
  /// How it is watched; and with a brown-out what rows are ordered by, the more the higher: empty: how far `when` is
  /// from not holding.
  CascadeWatch watch;
  std::string by;
  /// Of the file; of `when` too.
  int line = 0;
  int when_line = 0;
  int by_line = 0;
};

/// What `cascade:`, `experts:`, `sequence:` or `ensemble:` of a model in mesh.yaml says (docs/composition.md), read but
/// not yet held against the members' signatures. Words are checked by whoever read it.
struct Composition {
  enum class Kind { kCascade, kExperts, kSequence, kEnsemble };
  enum class Combine { kMean, kVote, kConcat };
  struct Experts {
    CompositionMember gate;
    /// The gate's output; empty: its only one of floats.
    std::string gate_output;
    int64_t k = 1;
    /// 0: k.
    int64_t k_min = 0;
    absl::Duration k_min_after;
    /// "softmax", "renormalize", "none".
    std::string weights = "softmax";
    /// "next", "renormalize", "fail".
    std::string on_expert_error = "next";
    /// 0: no limit.
    float capacity = 0;
    /// What the gate is expected to do.
    ExpertsWatch watch;
  };
  struct Ensemble {
    Combine combine = Combine::kMean;
    /// Of the mean, one per member; empty: all equal.
    std::vector<float> weights;
  };

  std::string name;
  Kind kind = Kind::kSequence;
  /// Stages, experts, steps or models, in order.
  std::vector<CompositionMember> members;
  /// Names in the composition; empty: all that there can be.
  std::vector<std::string> outputs;
  /// Of cascades and experts: "cheap" (cascades), "mark", "fail"; and whether an output says what became of each row.
  std::string on_row_error = "mark";
  bool row_status = false;
  Experts experts;
  Ensemble ensemble;

  std::string file;
  int line = 0;

  /// INVALID_ARGUMENT "mesh.yaml:7: model 'spam': message".
  absl::Status ErrorAt(int at_line, absl::string_view message) const;
};

/// The output that `row_status` adds.
inline constexpr absl::string_view kRowStatusOutput = "row_status";

/// "cascade", "experts", "sequence", "ensemble".
absl::string_view CompositionKindName(Composition::Kind kind);

}  // namespace portico
