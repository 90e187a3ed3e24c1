#include "models/graph/embedding_spec.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "embedding/lookup_call.h"
#include "models/graph/portal_attributes.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

constexpr size_t kMaxName = 255;

template <typename... Parts>
absl::Status Bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::StatusOr<Pooling> PoolingFromName(absl::string_view name) {
  if (name == "sum") return Pooling::kSum;
  if (name == "mean") return Pooling::kMean;
  if (name == "none") return Pooling::kNone;
  return Bad("got '", name, "', want one of sum, mean, none");
}

/// A list with an entry for each output.
absl::StatusOr<std::vector<std::string>> Words(const onnx::NodeProto& node, absl::string_view name) {
  ASSIGN_OR_RETURN(std::vector<std::string> words, StringsAttribute(node, name));
  RETURN_IF_ERROR(CheckCount(name, words.size(), node.output_size(), "output"));
  return words;
}

absl::Status ReadPadding(absl::string_view text, EmbeddingSpec::Lookup& lookup) {
  if (text.empty()) return absl::OkStatus();
  if (lookup.id_kind == IdKind::kString) {
    lookup.empty_is_padding = true;
    if (text == "-") return absl::OkStatus();
    return Bad("got '", text, "' for ids that are strings, want '' for none or '-', the empty string");
  }
  if (int64_t id; absl::SimpleAtoi(text, &id)) {
    lookup.padding = id;
    return absl::OkStatus();
  }
  return Bad("got '", text, "', want '' for none or a number");
}

absl::Status CheckLookup(const EmbeddingSpec::Lookup& lookup) {
  if (lookup.table.empty() || lookup.table.size() > kMaxName) {
    return Bad("attribute 'tables': got a name of ", lookup.table.size(), " bytes, want 1 to ", kMaxName);
  }
  if (lookup.csr && lookup.pooling == Pooling::kNone) {
    return Bad("attribute 'forms': got csr without pooling, want padded; ids alone say where the rows go");
  }
  if (lookup.weighted && lookup.pooling == Pooling::kMean) {
    return Bad("attribute 'weighted': got weights with mean, want none; take sum");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<EmbeddingSpec> ReadEmbeddingSpec(const onnx::NodeProto& node) {
  EmbeddingSpec spec;
  const int count = node.output_size();
  if (count < 1 || count > LookupCall::kMaxEntries) {
    return Bad("got ", count, " outputs, want 1 to ", LookupCall::kMaxEntries, ", one for each lookup");
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> tables, Words(node, "tables"));
  ASSIGN_OR_RETURN(const std::vector<int64_t> dims, IntsAttribute(node, "dims"));
  RETURN_IF_ERROR(CheckCount("dims", dims.size(), count, "output"));
  ASSIGN_OR_RETURN(const std::vector<std::string> poolings, Words(node, "poolings"));
  ASSIGN_OR_RETURN(const std::vector<std::string> forms, Words(node, "forms"));
  ASSIGN_OR_RETURN(const std::vector<std::string> id_kinds, Words(node, "id_kinds"));
  ASSIGN_OR_RETURN(std::vector<int64_t> weighted, IntsAttribute(node, "weighted"));
  if (weighted.empty()) weighted.resize(static_cast<size_t>(count));
  RETURN_IF_ERROR(CheckCount("weighted", weighted.size(), count, "output"));
  ASSIGN_OR_RETURN(std::vector<std::string> paddings, StringsAttribute(node, "paddings"));
  if (paddings.empty()) paddings.resize(static_cast<size_t>(count));
  RETURN_IF_ERROR(CheckCount("paddings", paddings.size(), count, "output"));
  ASSIGN_OR_RETURN(spec.include_last_offset, BoolAttribute(node, "include_last_offset"));
  ASSIGN_OR_RETURN(const std::string source, StringAttribute(node, "source", ""));
  if (!source.empty()) {
    absl::StatusOr<Digest> digest = Digest::FromHex(source);
    if (!digest.ok()) return WithContext("attribute 'source'", digest.status());
    spec.source = *digest;
  }
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    EmbeddingSpec::Lookup lookup;
    const auto at = [i](absl::string_view attribute, const absl::Status& why) {
      return WithContext(absl::StrCat("attribute '", attribute, "' at ", i), why);
    };
    lookup.table = tables[i];
    if (dims[i] < 1 || dims[i] > static_cast<int64_t>(kMaxDim)) {
      return at("dims", Bad("got ", dims[i], ", want 1 to ", kMaxDim));
    }
    lookup.dim = static_cast<size_t>(dims[i]);
    const absl::StatusOr<Pooling> pooling = PoolingFromName(poolings[i]);
    if (!pooling.ok()) return at("poolings", pooling.status());
    lookup.pooling = *pooling;
    const absl::StatusOr<IdKind> id_kind = IdKindFromName(id_kinds[i]);
    if (!id_kind.ok()) return at("id_kinds", id_kind.status());
    lookup.id_kind = *id_kind;
    if (forms[i] != "padded" && forms[i] != "csr") {
      return at("forms", Bad("got '", forms[i], "', want padded or csr"));
    }
    lookup.csr = forms[i] == "csr";
    if (weighted[i] != 0 && weighted[i] != 1) return at("weighted", Bad("got ", weighted[i], ", want 0 or 1"));
    lookup.weighted = weighted[i] == 1;
    if (absl::Status padding = ReadPadding(paddings[i], lookup); !padding.ok()) return at("paddings", padding);
    if (absl::Status fits = CheckLookup(lookup); !fits.ok()) return WithContext(absl::StrCat("lookup ", i), fits);
    lookup.ids = spec.inputs++;
    if (lookup.csr) lookup.offsets = spec.inputs++;
    if (lookup.weighted) lookup.weights = spec.inputs++;
    spec.lookups.push_back(std::move(lookup));
  }
  if (node.input_size() != spec.inputs) {
    return Bad("got ", node.input_size(), " inputs, want ", spec.inputs,
               ": of each lookup the ids, then offsets where it is csr, then weights where it is weighted");
  }
  return spec;
}

absl::Status CheckEmbeddingOutputs(const EmbeddingSpec& spec, absl::Span<const TensorSpec> outputs) {
  for (size_t i = 0; i < spec.lookups.size(); ++i) {
    const EmbeddingSpec::Lookup& lookup = spec.lookups[i];
    const TensorSpec& output = outputs[i];
    const bool rank = !output.has_rank || (lookup.csr ? output.dims.size() == 2 : !output.dims.empty());
    const int64_t last = output.dims.empty() ? -1 : output.dims.back().extent;
    if (output.dtype == DType::kFloat && rank && (last < 0 || last == static_cast<int64_t>(lookup.dim))) continue;
    return Bad("output '", output.name, "' of table '", lookup.table, "': got ", output.ToString(), ", want float32[",
               lookup.csr ? "N" : "...", ",", lookup.dim, "]");
  }
  return absl::OkStatus();
}

absl::Status CheckEmbeddingInputs(const EmbeddingSpec& spec, absl::Span<const std::optional<TensorSpec>> inputs) {
  const auto refuse = [&](const EmbeddingSpec::Lookup& lookup, absl::string_view what, int at, absl::string_view want) {
    return Bad("input ", at, ", ", what, " of table '", lookup.table, "': got ",
               inputs[static_cast<size_t>(at)]->ToString(), ", want ", want);
  };
  // Whether nothing is known of the input, or what is suits.
  const auto may_be = [&](int at, absl::Span<const DType> dtypes, int rank) {
    if (at < 0 || !inputs[static_cast<size_t>(at)].has_value()) return true;
    const TensorSpec& input = *inputs[static_cast<size_t>(at)];
    bool dtype = input.dtype == DType::kInvalid;
    for (const DType one : dtypes) dtype = dtype || one == input.dtype;
    return dtype && (input.dtype == DType::kInvalid || !input.has_rank || rank < 0 ||
                     input.dims.size() == static_cast<size_t>(rank));
  };
  constexpr DType kIntegers[] = {DType::kInt64, DType::kInt32};
  constexpr DType kStrings[] = {DType::kString};
  constexpr DType kFloats[] = {DType::kFloat};
  for (const EmbeddingSpec::Lookup& lookup : spec.lookups) {
    const bool strings = lookup.id_kind == IdKind::kString;
    const int rank = lookup.csr ? 1 : -1;
    const absl::Span<const DType> ids =
        strings ? absl::Span<const DType>(kStrings) : absl::Span<const DType>(kIntegers);
    if (!may_be(lookup.ids, ids, rank)) {
      return refuse(lookup, "the ids", lookup.ids,
                    absl::StrCat(strings ? "string" : "int64 or int32", lookup.csr ? "[T]" : "[...]"));
    }
    const std::optional<TensorSpec>& known = inputs[static_cast<size_t>(lookup.ids)];
    if (!lookup.csr && lookup.pooling != Pooling::kNone && known.has_value() && known->dtype != DType::kInvalid &&
        known->has_rank && known->dims.empty()) {
      return refuse(lookup, "the ids", lookup.ids, "an axis that is the bag");
    }
    if (!may_be(lookup.offsets, kIntegers, 1))
      return refuse(lookup, "the offsets", lookup.offsets, "int64 or int32[N]");
    if (!may_be(lookup.weights, kFloats, rank)) {
      return refuse(lookup, "the weights", lookup.weights, "float32, as many as ids");
    }
  }
  return absl::OkStatus();
}

}  // namespace portico
