#include "models/share/sharing_proposal.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "embedding/lookup_call.h"
#include "models/graph/graph_plan.h"
#include "models/graph/portal_spec.h"
#include "models/share/common_dtypes.h"
#include "models/share/common_nodes.h"
#include "models/share/common_subgraphs.h"
#include "models/share/fold_constants.h"
#include "models/share/live_nodes.h"
#include "models/share/product_graph.h"
#include "models/split/graph_index.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

std::string Quoted(const Product& product) { return absl::StrCat("product '", product.name, "'"); }

absl::Status CheckNames(absl::Span<const Product> products, const SharingOptions& options) {
  if (products.size() < 2) {
    return absl::InvalidArgumentError(absl::StrCat("got ", products.size(), " models, want two at least to compare"));
  }
  absl::flat_hash_set<std::string> names;
  for (const Product& product : products) {
    if (absl::Status status = CheckServableName(product.name); !status.ok())
      return WithContext(Quoted(product), status);
    if (!names.insert(product.name).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          Quoted(product), ": got two models of that name, want names that differ; write NAME=MODEL.ONNX"));
    }
  }
  if (!options.name.empty()) {
    if (absl::Status status = CheckServableName(options.name); !status.ok()) return WithContext("module", status);
  }
  return absl::OkStatus();
}

/// A shard of tables is no model: its rows lie beside it, and it is served once for all as it is.
absl::Status CheckNoShard(const Model& model) {
  for (const onnx::NodeProto& node : model.proto().graph().node()) {
    if (node.domain() != kPorticoDomain || node.op_type() != LookupCall::kOp) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("got a shard of tables (", DescribeNode(node),
                     "), want a model; shards are served once for all products as they are: name their group among "
                     "'tables' of the mesh file"));
  }
  return absl::OkStatus();
}

/// "hub/encoder", "hub/encoder-2", ...: none that is taken.
std::string ModuleName(const std::string& base, absl::flat_hash_set<std::string>& taken) {
  std::string name = base;
  for (int i = 2; !taken.insert(name).second; ++i) name = absl::StrCat(base, "-", i);
  return name;
}

std::vector<std::string> Names(const ProductGraph& graph, const std::vector<int>& tensors) {
  std::vector<std::string> names;
  for (const int tensor : tensors) names.push_back(graph.tensors[static_cast<size_t>(tensor)].name);
  return names;
}

SharedModule MakeModule(std::string name, const CommonSubgraph& subgraph, const std::vector<ProductGraph>& graphs) {
  SharedModule module;
  module.name = std::move(name);
  module.nodes = static_cast<int>(subgraph.nodes.front().size());
  module.weight_bytes = subgraph.weight_bytes;
  module.saved_bytes = subgraph.saved_bytes;
  for (size_t i = 0; i < subgraph.products.size(); ++i) {
    const ProductGraph& graph = graphs[static_cast<size_t>(subgraph.products[i])];
    SharedModule::Use use;
    use.product = subgraph.products[i];
    use.part.name = module.name;
    use.part.inputs = Names(graph, subgraph.inputs[i]);
    use.part.outputs = Names(graph, subgraph.outputs[i]);
    for (const int node : subgraph.nodes[i]) {
      const ProductGraph::Node& own = graph.nodes[static_cast<size_t>(node)];
      if (!own.is_portal) continue;
      const auto output = std::find_if(own.outputs.begin(), own.outputs.end(), [](int tensor) { return tensor >= 0; });
      use.portals.push_back(graph.tensors[static_cast<size_t>(*output)].name);
    }
    module.uses.push_back(std::move(use));
  }
  return module;
}

/// Of nothing but portals: whoever calls it could as well call what they do.
bool IsHollow(const CommonSubgraph& subgraph, const std::vector<ProductGraph>& graphs) {
  const ProductGraph& graph = graphs[static_cast<size_t>(subgraph.products.front())];
  const std::vector<int>& nodes = subgraph.nodes.front();
  return std::all_of(nodes.begin(), nodes.end(),
                     [&](int node) { return graph.nodes[static_cast<size_t>(node)].is_portal; });
}

/// Names that products have and that their portals call: no module is to be called so.
absl::StatusOr<absl::flat_hash_set<std::string>> TakenNames(absl::Span<const Product> products) {
  absl::flat_hash_set<std::string> taken;
  for (const Product& product : products) {
    taken.insert(product.name);
    for (const onnx::NodeProto& node : product.model.proto().graph().node()) {
      if (node.domain() != kPorticoDomain) continue;
      ASSIGN_OR_RETURN(const PortalSpec spec, ReadPortalSpec(node));
      for (const PortalTarget& target : PortalTargets(spec)) taken.insert(target.name);
    }
  }
  return taken;
}

/// The estimates are those of the first product that has the module.
void AddFlops(absl::Span<const Product> products, const std::vector<GraphIndex>& indexes,
              const std::vector<ProductGraph>& graphs, const std::vector<CommonSubgraph>& subgraphs,
              SharingProposal& proposal) {
  for (size_t p = 0; p < products.size(); ++p) {
    std::vector<std::vector<int>> groups;
    std::vector<size_t> modules;
    for (size_t m = 0; m < subgraphs.size(); ++m) {
      if (static_cast<size_t>(subgraphs[m].products.front()) != p) continue;
      std::vector<int> nodes;
      for (const int node : subgraphs[m].nodes.front())
        nodes.push_back(graphs[p].nodes[static_cast<size_t>(node)].index);
      groups.push_back(std::move(nodes));
      modules.push_back(m);
    }
    if (groups.empty()) continue;
    const absl::StatusOr<std::vector<FlopEstimate>> estimates = EstimateFlops(products[p].graph(), indexes[p], groups);
    if (!estimates.ok()) {
      proposal.notes.push_back(
          absl::StrCat(Quoted(products[p]), ": FLOPs are not known: ", estimates.status().message()));
      continue;
    }
    for (size_t i = 0; i < modules.size(); ++i) proposal.modules[modules[i]].flops = (*estimates)[i];
  }
}

}  // namespace

absl::StatusOr<Product> MakeProduct(std::string name, Model model, WeightStore& store,
                                    std::vector<std::string>& notes) {
  if (absl::Status status = CheckNoShard(model); !status.ok())
    return WithContext(absl::StrCat("product '", name, "'"), status);
  absl::StatusOr<FoldedModel> folded = FoldConstants(model, store);
  if (!folded.ok()) return WithContext(absl::StrCat("product '", name, "'"), folded.status());
  if (!folded->note.empty()) notes.push_back(absl::StrCat("product '", name, "': ", folded->note));
  absl::StatusOr<std::optional<Model>> live = DropDeadNodes(folded->model.has_value() ? *folded->model : model);
  if (!live.ok()) return WithContext(absl::StrCat("product '", name, "'"), live.status());
  if (live->has_value()) folded->model = *std::move(*live);
  return Product{std::move(name), std::move(model), std::move(folded->model)};
}

absl::StatusOr<SharingProposal> ProposeSharing(absl::Span<const Product> products, const SharingOptions& options) {
  RETURN_IF_ERROR(CheckNames(products, options));
  std::vector<GraphIndex> indexes;
  std::vector<ProductGraph> graphs;
  for (const Product& product : products) {
    absl::StatusOr<GraphIndex> index = GraphIndex::Create(product.graph().proto());
    if (!index.ok()) return WithContext(Quoted(product), index.status());
    absl::StatusOr<ProductGraph> graph = ProductGraph::Create(product.graph(), *index);
    if (!graph.ok()) return WithContext(Quoted(product), graph.status());
    indexes.push_back(*std::move(index));
    graphs.push_back(*std::move(graph));
  }
  CommonSubgraphOptions search;
  search.min_bytes = options.min_bytes;
  search.max_tensors = options.max_tensors;
  SharingProposal proposal;
  CommonNodes common = FindCommonNodes(graphs);
  DivideByDtype(products, indexes, graphs, common, proposal.notes);
  CommonSubgraphs found = FindCommonSubgraphs(graphs, common, search);
  std::erase_if(found.subgraphs, [&](const CommonSubgraph& subgraph) { return IsHollow(subgraph, graphs); });

  ASSIGN_OR_RETURN(absl::flat_hash_set<std::string> taken, TakenNames(products));
  const std::string base = options.name.empty() ? absl::StrCat("hub/", products.front().name, "-shared") : options.name;
  for (const CommonSubgraph& subgraph : found.subgraphs) {
    const bool is_taken = proposal.modules.empty() && taken.contains(base);
    proposal.modules.push_back(MakeModule(ModuleName(base, taken), subgraph, graphs));
    if (!is_taken) continue;
    proposal.notes.push_back(absl::StrCat("the module is called '", proposal.modules.front().name, "', as '", base,
                                          "' is a product, or called by one; --name gives it another name"));
  }
  AddFlops(products, indexes, graphs, found.subgraphs, proposal);
  if (found.too_wide_bytes >= std::max<uint64_t>(options.min_bytes, 1)) {
    proposal.notes.push_back(absl::StrCat("left out: ", found.too_wide_bytes,
                                          " bytes of common weights, as more tensors than --max-tensors (",
                                          options.max_tensors, ") would cross their border wherever it is"));
  }
  if (found.below_min_bytes > 0 && proposal.modules.empty()) {
    proposal.notes.push_back(absl::StrCat("left out: the largest common subgraph saves ", found.below_min_bytes,
                                          " bytes at most, want ", options.min_bytes, "; --min-bytes allows less"));
  }
  if (found.incomplete) {
    proposal.notes.push_back(
        "the models repeat themselves so much that not all was compared; there may be more in common");
  }
  return proposal;
}

}  // namespace portico
