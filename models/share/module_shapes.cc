#include "models/share/module_shapes.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

using ValueInfos = google::protobuf::RepeatedPtrField<onnx::ValueInfoProto>;

/// Extents of a shape: a number, or −1 − n for the n-th extent of those known at run time alone; equal ones are equal.
/// Nothing: the rank is not known.
using Extents = std::optional<std::vector<int64_t>>;

/// Numbers extents by what they are told apart by, and keeps a symbol for each, or "".
template <typename Key>
class Numbering {
 public:
  int64_t Of(const Key& key, const std::string& symbol) {
    const auto [at, is_new] = numbers_.emplace(key, -1 - static_cast<int64_t>(symbols_.size()));
    if (is_new) symbols_.push_back(symbol);
    return at->second;
  }
  int64_t New() {
    symbols_.emplace_back();
    return -static_cast<int64_t>(symbols_.size());
  }
  const std::string& Symbol(int64_t extent) const { return symbols_[static_cast<size_t>(-1 - extent)]; }

 private:
  std::map<Key, int64_t> numbers_;
  std::vector<std::string> symbols_;
};

/// As one product declares it.
struct Declared {
  Numbering<std::string> numbering;
  std::vector<Extents> inputs;
  std::vector<Extents> outputs;
  std::vector<Extents> portal_outputs;

  explicit Declared(const ModuleCut& cut)
      : inputs(Read(cut.graph->input())),
        outputs(Read(cut.graph->output())),
        portal_outputs(Read(cut.portal_outputs)) {}

  std::vector<Extents> Read(const ValueInfos& infos) {
    std::vector<Extents> all;
    for (const onnx::ValueInfoProto& info : infos) {
      if (!info.type().has_tensor_type() || !info.type().tensor_type().has_shape()) {
        all.emplace_back();
        continue;
      }
      std::vector<int64_t> extents;
      for (const auto& dim : info.type().tensor_type().shape().dim()) {
        if (dim.has_dim_value() && dim.dim_value() >= 0) {
          extents.push_back(dim.dim_value());
        } else {
          extents.push_back(dim.dim_param().empty() ? numbering.New() : numbering.Of(dim.dim_param(), dim.dim_param()));
        }
      }
      all.emplace_back(std::move(extents));
    }
    return all;
  }

  std::vector<Extents> Read(const std::vector<TensorSpec>& specs) {
    std::vector<Extents> all;
    for (const TensorSpec& spec : specs) {
      if (!spec.has_rank) {
        all.emplace_back();
        continue;
      }
      std::vector<int64_t> extents;
      for (const Dim& dim : spec.dims) {
        const int64_t unknown = dim.symbol.empty() ? 0 : numbering.Of(dim.symbol, dim.symbol);
        extents.push_back(dim.extent >= 0 ? dim.extent : unknown < 0 ? unknown : numbering.New());
      }
      all.emplace_back(std::move(extents));
    }
    return all;
  }
};

/// The extents renumbered in the order in which they come: equal where the same are equal.
std::vector<Extents> Pattern(std::vector<Extents> all) {
  std::map<int64_t, int64_t> numbers;
  for (Extents& extents : all) {
    if (!extents.has_value()) continue;
    for (int64_t& extent : *extents) {
      if (extent < 0) extent = numbers.emplace(extent, -1 - static_cast<int64_t>(numbers.size())).first->second;
    }
  }
  return all;
}

class Fitter {
 public:
  explicit Fitter(absl::Span<const ModuleCut> cuts) : specs_(cuts.front().portal_outputs) {
    for (const ModuleCut& cut : cuts) products_.emplace_back(cut);
  }

  std::vector<TensorSpec> Fit(onnx::GraphProto* module) {
    std::vector<Extents> inputs;
    for (int i = 0; i < module->input_size(); ++i) inputs.push_back(Merge(&Declared::inputs, i));
    Trust(inputs);
    std::vector<Extents> outputs;
    for (int i = 0; i < module->output_size(); ++i) outputs.push_back(Merge(&Declared::outputs, i));
    bool changed = false;
    for (int i = 0; i < module->input_size(); ++i) changed |= Write(inputs[At(i)], module->mutable_input(i));
    for (int i = 0; i < module->output_size(); ++i) changed |= Write(outputs[At(i)], module->mutable_output(i));
    // What is declared inside follows from the inputs, and may be too narrow now.
    if (changed || !specs_.empty()) module->clear_value_info();
    for (size_t i = 0; i < specs_.size(); ++i) {
      Write(Merge(&Declared::portal_outputs, static_cast<int>(i)), &specs_[i]);
    }
    return std::move(specs_);
  }

 private:
  using Key = std::vector<int64_t>;

  static size_t At(int number) { return static_cast<size_t>(number); }

  Extents Merge(std::vector<Extents> Declared::*values, int number) {
    const Extents& first = (products_.front().*values)[At(number)];
    for (const Declared& product : products_) {
      const Extents& extents = (product.*values)[At(number)];
      if (!first.has_value() || !extents.has_value() || extents->size() != first->size()) return std::nullopt;
    }
    std::vector<int64_t> merged;
    for (size_t d = 0; d < first->size(); ++d) {
      Key key;
      for (const Declared& product : products_) key.push_back((*(product.*values)[At(number)])[d]);
      merged.push_back(MergeExtent(key));
    }
    return merged;
  }

  int64_t MergeExtent(const Key& key) {
    if (key.front() >= 0 && std::all_of(key.begin(), key.end(), [&](int64_t extent) { return extent == key.front(); }))
      return key.front();
    for (size_t p = 0; p < trusted_.size(); ++p) {
      const auto extent = trusted_[p].find(key[p]);
      if (extent != trusted_[p].end()) return extent->second;
    }
    std::string symbol;
    for (size_t p = 0; p < key.size() && symbol.empty(); ++p) {
      if (key[p] < 0) symbol = products_[p].numbering.Symbol(key[p]);
    }
    return numbering_.Of(key, symbol);
  }

  /// A product that declares of its inputs no more than the module does is right about which extents of the module's
  /// outputs are those of inputs, even where others have not found out.
  void Trust(const std::vector<Extents>& inputs) {
    const std::vector<Extents> pattern = Pattern(inputs);
    std::vector<std::map<int64_t, int64_t>> trusted(products_.size());
    for (size_t p = 0; p < products_.size(); ++p) {
      if (Pattern(products_[p].inputs) != pattern) continue;
      for (size_t i = 0; i < inputs.size(); ++i) {
        for (size_t d = 0; inputs[i].has_value() && d < inputs[i]->size(); ++d) {
          if ((*inputs[i])[d] < 0) trusted[p].emplace((*products_[p].inputs[i])[d], (*inputs[i])[d]);
        }
      }
    }
    trusted_ = std::move(trusted);
  }

  /// The symbol that the module has for an extent: one that no other has.
  const std::string& SymbolOf(int64_t extent) {
    const auto [at, is_new] = names_.emplace(extent, "");
    const std::string& wanted = numbering_.Symbol(extent);
    if (!is_new || wanted.empty()) return at->second;
    std::string name = wanted;
    for (int i = 2; !used_.insert(name).second; ++i) name = absl::StrCat(wanted, "_", i);
    at->second = std::move(name);
    return at->second;
  }

  /// Whether `info` is another one now.
  bool Write(const Extents& extents, onnx::ValueInfoProto* info) {
    if (!info->type().has_tensor_type() || !info->type().tensor_type().has_shape()) return false;
    const std::string before = info->type().SerializeAsString();
    auto* type = info->mutable_type()->mutable_tensor_type();
    if (!extents.has_value()) {
      type->clear_shape();
      return true;
    }
    for (size_t d = 0; d < extents->size(); ++d) {
      auto* dim = type->mutable_shape()->mutable_dim(static_cast<int>(d));
      if ((*extents)[d] >= 0) continue;
      const std::string& symbol = SymbolOf((*extents)[d]);
      dim->clear_value();
      if (!symbol.empty()) dim->set_dim_param(symbol);
    }
    return info->type().SerializeAsString() != before;
  }

  void Write(const Extents& extents, TensorSpec* spec) {
    spec->has_rank = extents.has_value();
    spec->dims.clear();
    for (size_t d = 0; extents.has_value() && d < extents->size(); ++d) {
      const int64_t extent = (*extents)[d];
      spec->dims.push_back(extent >= 0 ? Dim{extent, ""} : Dim{-1, SymbolOf(extent)});
    }
  }

  /// What portals compute: as the first product has it, then as the module does.
  std::vector<TensorSpec> specs_;
  std::vector<Declared> products_;
  Numbering<Key> numbering_;
  /// [product]: of its extents, the module's.
  std::vector<std::map<int64_t, int64_t>> trusted_;
  std::map<int64_t, std::string> names_;
  std::set<std::string> used_;
};

}  // namespace

std::vector<TensorSpec> FitShapes(absl::Span<const ModuleCut> cuts, onnx::GraphProto* module) {
  return Fitter(cuts).Fit(module);
}

}  // namespace portico
