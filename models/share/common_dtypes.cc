#include "models/share/common_dtypes.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/dtype.h"
#include "models/package/signature.h"
#include "models/share/inferred_specs.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

size_t At(int number) { return static_cast<size_t>(number); }

class Divider {
 public:
  Divider(absl::Span<const Product> products, const std::vector<GraphIndex>& indexes,
          const std::vector<ProductGraph>& graphs, CommonNodes& common)
      : products_(products),
        indexes_(indexes),
        graphs_(graphs),
        common_(common),
        dtypes_(products.size()),
        refused_(products.size()),
        unknown_(products.size()) {}

  void Run(std::vector<std::string>& notes) {
    // What nodes of one class compute from equal dtypes is of equal dtypes: mostly it is enough to look at what comes
    // from elsewhere.
    Learn(/*all=*/false);
    LeaveOut(notes);
    bool differ = false;
    for (size_t cls = 0; cls < common_.classes.size() && !differ; ++cls) differ = !Divided(cls).empty();
    if (!differ) return;
    Learn(/*all=*/true);
    for (size_t cls = 0, count = common_.classes.size(); cls < count; ++cls) {
      const std::vector<int> apart = Divided(cls);
      if (apart.empty()) continue;
      if (!note_.empty()) notes.push_back(std::exchange(note_, ""));
      noted_ = true;
      MoveOut(cls, apart);
    }
  }

 private:
  const ProductGraph::Node& NodeOf(size_t cls, size_t product) const {
    return graphs_[product].nodes[At(common_.classes[cls][product])];
  }

  /// Products of the class.
  std::vector<size_t> Members(size_t cls) const {
    std::vector<size_t> members;
    for (size_t p = 0; p < graphs_.size(); ++p) {
      if (common_.classes[cls][p] >= 0) members.push_back(p);
    }
    return members;
  }

  /// Whether nodes of one class compute what is read there.
  bool IsInner(size_t cls, size_t slot, const std::vector<size_t>& members) const {
    std::pair<int, int> source = {-1, -1};
    for (const size_t p : members) {
      const int tensor = NodeOf(cls, p).slots[slot];
      if (tensor < 0) return true;
      const ProductGraph::TensorInfo& info = graphs_[p].tensors[At(tensor)];
      const std::pair<int, int> own = {info.producer < 0 ? -1 : common_.class_of[p][At(info.producer)], info.output};
      if (own.first < 0 || (p != members.front() && own != source)) return false;
      source = own;
    }
    return true;
  }

  void Learn(bool all) {
    std::vector<absl::flat_hash_set<std::string>> wanted(graphs_.size());
    for (size_t cls = 0; cls < common_.classes.size(); ++cls) {
      const std::vector<size_t> members = Members(cls);
      if (members.size() < 2) continue;
      for (size_t slot = 0; slot < NodeOf(cls, members.front()).slots.size(); ++slot) {
        if (!all && IsInner(cls, slot, members)) continue;
        for (const size_t p : members) {
          const int tensor = NodeOf(cls, p).slots[slot];
          if (tensor >= 0 && graphs_[p].tensors[At(tensor)].producer >= 0) {
            wanted[p].insert(graphs_[p].tensors[At(tensor)].name);
          }
        }
      }
    }
    for (size_t p = 0; p < graphs_.size(); ++p) {
      dtypes_[p].clear();
      const Model& model = products_[p].graph();
      for (const auto& input : model.proto().graph().input()) {
        dtypes_[p][input.name()] = static_cast<DType>(input.type().tensor_type().elem_type());
      }
      if (!IsCommon(p)) continue;
      const absl::StatusOr<DenseSpecs> dense = InferDenseSpecs(model, indexes_[p], wanted[p]);
      for (const std::string& tensor : wanted[p]) dtypes_[p].emplace(tensor, DType::kInvalid);
      if (!dense.ok()) {
        refused_[p] = dense.status();
        continue;
      }
      unknown_[p] = dense->unknown;
      for (const TensorSpec& spec : dense->specs) dtypes_[p][spec.name] = spec.dtype;
    }
  }

  /// Whether the product has a node that another one has.
  bool IsCommon(size_t product) const {
    return std::any_of(common_.class_of[product].begin(), common_.class_of[product].end(),
                       [](int cls) { return cls >= 0; });
  }

  /// Nodes that nothing can be cut at: of a product that ONNX Runtime does not take, and those that read what is no
  /// dense tensor.
  void LeaveOut(std::vector<std::string>& notes) {
    for (size_t p = 0; p < graphs_.size(); ++p) {
      if (refused_[p].ok()) continue;
      notes.push_back(absl::StrCat("product '", products_[p].name,
                                   "': nothing of it is shared, as it cannot be run here: ", refused_[p].message()));
      for (size_t cls = 0; cls < common_.classes.size(); ++cls) Remove(cls, p);
    }
    for (size_t p = 0; p < graphs_.size(); ++p) {
      if (unknown_[p] == 0) continue;
      notes.push_back(absl::StrCat("product '", products_[p].name, "': nodes that read ", unknown_[p],
                                   " of its tensors are not shared, as it was not found out whether these are dense"));
    }
    for (size_t cls = 0; cls < common_.classes.size(); ++cls) {
      for (const size_t p : Members(cls)) {
        if (common_.classes[cls][p] < 0) continue;  // It went with the other one.
        const std::vector<int>& slots = NodeOf(cls, p).slots;
        if (std::any_of(slots.begin(), slots.end(), [&](int tensor) { return IsNotDense(p, tensor); })) Remove(cls, p);
      }
    }
  }

  bool IsNotDense(size_t product, int tensor) const {
    if (tensor < 0) return false;
    const auto dtype = dtypes_[product].find(graphs_[product].tensors[At(tensor)].name);
    return dtype != dtypes_[product].end() && dtype->second == DType::kInvalid;
  }

  void Remove(size_t cls, size_t product) {
    const int node = std::exchange(common_.classes[cls][product], -1);
    if (node < 0) return;
    common_.class_of[product][At(node)] = -1;
    Dissolve(cls);
  }

  /// kInvalid: not known, or not asked for.
  DType DTypeOf(size_t product, int tensor) const {
    if (tensor < 0) return DType::kInvalid;
    const auto dtype = dtypes_[product].find(graphs_[product].tensors[At(tensor)].name);
    return dtype == dtypes_[product].end() ? DType::kInvalid : dtype->second;
  }

  bool ReadTheSame(size_t cls, size_t a, size_t b) {
    const std::vector<int>& in_a = NodeOf(cls, a).slots;
    const std::vector<int>& in_b = NodeOf(cls, b).slots;
    for (size_t slot = 0; slot < in_a.size() && slot < in_b.size(); ++slot) {
      const DType of_a = DTypeOf(a, in_a[slot]);
      const DType of_b = DTypeOf(b, in_b[slot]);
      if (of_a == of_b || of_a == DType::kInvalid || of_b == DType::kInvalid) continue;
      if (note_.empty() && !noted_) {
        const auto tensor = [&](size_t p, int number, DType dtype) {
          return absl::StrCat("tensor '", graphs_[p].tensors[At(number)].name, "' of product '", products_[p].name,
                              "' is ", DTypeName(dtype));
        };
        note_ = absl::StrCat("common nodes read other dtypes, and are not shared: ", tensor(a, in_a[slot], of_a),
                             ", while ", tensor(b, in_b[slot], of_b));
      }
      return false;
    }
    return true;
  }

  /// Products of the class that read other dtypes than the first.
  std::vector<int> Divided(size_t cls) {
    const std::vector<size_t> members = Members(cls);
    std::vector<int> apart;
    for (size_t i = 1; i < members.size(); ++i) {
      if (!ReadTheSame(cls, members.front(), members[i])) apart.push_back(static_cast<int>(members[i]));
    }
    return apart;
  }

  /// A class of their own for those, divided again where need be; none for one alone.
  void MoveOut(size_t cls, std::vector<int> apart) {
    while (!apart.empty()) {
      const size_t moved = common_.classes.size();
      common_.classes.emplace_back(graphs_.size(), -1);
      for (const int p : apart) {
        const int node = std::exchange(common_.classes[cls][At(p)], -1);
        common_.classes[moved][At(p)] = node;
        common_.class_of[At(p)][At(node)] = static_cast<int>(moved);
      }
      Dissolve(cls);
      apart = Divided(moved);
      cls = moved;
    }
    Dissolve(cls);
  }

  /// A class of one is none.
  void Dissolve(size_t cls) {
    const std::vector<size_t> members = Members(cls);
    if (members.size() != 1) return;
    const int node = std::exchange(common_.classes[cls][members[0]], -1);
    common_.class_of[members[0]][At(node)] = -1;
  }

  const absl::Span<const Product> products_;
  const std::vector<GraphIndex>& indexes_;
  const std::vector<ProductGraph>& graphs_;
  CommonNodes& common_;
  /// [product] by name.
  std::vector<absl::flat_hash_map<std::string, DType>> dtypes_;
  /// [product]: why ONNX Runtime does not take it.
  std::vector<absl::Status> refused_;
  /// [product]: tensors that were asked for and of which nothing is known.
  std::vector<size_t> unknown_;
  std::string note_;
  bool noted_ = false;
};

}  // namespace

void DivideByDtype(absl::Span<const Product> products, const std::vector<GraphIndex>& indexes,
                   const std::vector<ProductGraph>& graphs, CommonNodes& common, std::vector<std::string>& notes) {
  Divider(products, indexes, graphs, common).Run(notes);
}

}  // namespace portico
