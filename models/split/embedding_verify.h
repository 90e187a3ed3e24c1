#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "models/package/model.h"
#include "models/split/embedding_lookups.h"
#include "models/split/local_tables.h"
#include "models/split/split.h"

namespace portico {

/// Runs a model and what RewriteLookups() made of it side by side, in this process, optimisation off. The original's
/// tables are its inputs, where they are mapped: nothing of them is copied.
class EmbeddingVerifier {
 public:
  /// Makes the inputs and has the original answer them. Borrows all of it. FAILED_PRECONDITION when it refuses all.
  static absl::StatusOr<std::unique_ptr<EmbeddingVerifier>> Create(const Model& original, const LookupGraph& lookups,
                                                                   const VerifyOptions& options);
  ~EmbeddingVerifier();

  /// Whether the rewritten model, over the weights themselves, answers as the original does, to what the dtype allows.
  /// FAILED_PRECONDITION names the first output that differs.
  absl::Status CheckRewriting(const Model& rewritten);

  /// The same model over other tables: the largest difference of each output, by name, which is nobody's fault where
  /// rows were stored in fewer bits.
  absl::StatusOr<std::vector<std::pair<std::string, double>>> Differences(const Model& rewritten,
                                                                          const LocalTables& tables);

  int rounds() const;
  /// Inputs that the original refused, with its message.
  const std::vector<std::string>& skipped() const;

 private:
  struct State;
  explicit EmbeddingVerifier(std::unique_ptr<State> state);

  const std::unique_ptr<State> state_;
};

}  // namespace portico
