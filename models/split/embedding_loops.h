#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "embedding/id_bags.h"
#include "models/package/model.h"
#include "models/split/graph_index.h"

namespace onnx {
class NodeProto;
}

namespace portico {

/// The bags that a loop makes, one in each turn.
struct LoopBags {
  Pooling pooling = Pooling::kSum;
  /// One dimension each: ids, where the loop reads them, and weights where it has any.
  std::string ids;
  std::string weights;
  /// The id that it leaves out.
  std::optional<int64_t> padding;
  /// Where each bag begins, and behind the last one the number of ids.
  std::string offsets;
  /// The tensor of all bags.
  std::string output;
};

/// nn.EmbeddingBag as torch.onnx exports it by tracing: a Loop whose body takes a slice of ids, gathers the rows of
/// `weight` and reduces them to what the loop puts together. None where `loop` is another.
std::optional<LoopBags> ReadGatheringLoop(const Model& model, const GraphIndex& index, const onnx::NodeProto& loop,
                                          absl::string_view weight);

/// The same as torch.export has it: `rows` are gathered in front of a Loop whose body takes a slice of them, reduces it
/// and adds it to a sequence that is joined afterwards.
std::optional<LoopBags> ReadSlicingLoop(const GraphIndex& index, const onnx::NodeProto& loop, absl::string_view rows);

/// The same of a bag with a padding: a loop in the loop first finds which of the bag's ids are others.
std::optional<LoopBags> ReadFilteringLoop(const Model& model, const GraphIndex& index, const onnx::NodeProto& loop,
                                          absl::string_view rows);

}  // namespace portico
