#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "models/package/model.h"
#include "models/package/provenance.h"
#include "models/split/embedding_options.h"
#include "models/split/embedding_tables.h"
#include "models/split/split.h"

namespace portico {

struct EmbeddingSplit {
  /// Servable name of what remains.
  std::string product;
  std::string out;
  int64_t version = 1;
  EmbeddingOptions options;
  /// Recorded in the product.
  Provenance provenance;
  VerifyOptions verify;
};

struct EmbeddingSplitReport {
  std::string group;
  std::vector<TableReport> tables;
  /// Nodes EmbeddingBag, and lookups in all of them.
  int portals = 0;
  int lookups = 0;
  /// LookupText() of each.
  std::vector<std::string> lookup_texts;
  /// Weights that stay, and why.
  std::vector<std::string> notes;
  /// Bytes of weights that remain in the product.
  uint64_t product_bytes = 0;
  int rounds = 0;
  std::vector<std::string> skipped;
  /// Of each output: the largest difference that the type of the stored rows makes.
  std::vector<std::pair<std::string, double>> differences;
  /// What was written.
  std::string product_folder;
  std::string group_folder;
  /// Empty where there was one already.
  std::string mesh_file;
};

/// Which of its two passes over the rows is under way.
using SplitProgress = std::function<void(absl::string_view what, uint64_t done, uint64_t all)>;

/// Takes the embedding tables out of `model` and writes them as a group of shards (`out`/GROUP/KofN/VERSION), what
/// remains as a package (`out`/NAME/VERSION) and, where there is none, `out`/mesh.yaml that serves both.
///
/// Before anything is to be seen, the rewritten graph was run over the original's weights and answered as the original
/// does, and every stored row was read back. Whatever fails, nothing is there. Weights are read where they are mapped,
/// in pieces.
absl::StatusOr<EmbeddingSplitReport> SplitEmbeddings(const Model& model, const EmbeddingSplit& split,
                                                     const SplitProgress& progress);

}  // namespace portico
