#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "models/split/split_embeddings.h"

namespace portico {

/// Splits the model at `path` and prints what became of it.
absl::Status RunSplitEmbeddings(const std::string& path, EmbeddingSplit split);

/// The report as text, at most so wide.
std::string EmbeddingSplitText(const EmbeddingSplitReport& report, const EmbeddingSplit& split, size_t columns);

}  // namespace portico
