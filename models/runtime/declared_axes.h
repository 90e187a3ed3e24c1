#pragma once

#include <string>
#include <vector>

#include "base/row_partition.h"
#include "models/package/signature.h"
#include "models/runtime/row_check.h"

namespace portico {

/// What a signature's declared axes (servable.yaml) mean for the segments that its graph is cut into. Names are the
/// graph's.
struct DeclaredRows {
  struct Ragged {
    std::string values;
    std::string partition;
    RowPartition kind = RowPartition::kNone;
  };

  static DeclaredRows Of(const Signature& signature);

  /// Whether anything says what counts rows.
  bool any() const { return !row_inputs.empty() || !ragged.empty(); }

  /// The symbol of dim 0 that counts rows, for tensors between segments; empty where what is declared has none.
  std::string symbol;
  std::vector<Ragged> ragged;
  std::vector<std::string> inputs;
  /// Declared as rows, whatever symbol they have, or none.
  std::vector<std::string> row_inputs;
  std::vector<std::string> row_outputs;
};

/// Which rows of a segment may be joined: as declared, or where nothing is, as InferRowAxes() finds out by running
/// `session`.
RowAxes SegmentRowAxes(Session& session, const DeclaredRows& declared);

/// The axes of a segment with these inputs and outputs. Declarations are taken at their word; what lies between
/// segments follows by the graph's symbols. Ragged values are joined only where what divides them is an input, too.
RowAxes DeclaredRowAxes(const std::vector<TensorSpec>& inputs, const std::vector<TensorSpec>& outputs,
                        const DeclaredRows& declared);

}  // namespace portico
