#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "models/share/common_nodes.h"
#include "models/share/product_graph.h"
#include "models/share/sharing_proposal.h"
#include "models/split/graph_index.h"

namespace portico {

/// Parts the nodes of a class that read tensors of different dtypes: nodes paired by their weights may do the same to
/// int32 in one product and to int64 in another, and a module has one dtype for each input. What cannot be cut is in no
/// class afterwards: nodes of a product that ONNX Runtime does not take, and those that read a sequence or the like
/// from elsewhere. `notes` gets one line for the first that differ, and one for each such product.
void DivideByDtype(absl::Span<const Product> products, const std::vector<GraphIndex>& indexes,
                   const std::vector<ProductGraph>& graphs, CommonNodes& common, std::vector<std::string>& notes);

}  // namespace portico
