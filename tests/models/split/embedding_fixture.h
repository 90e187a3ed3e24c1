#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "models/package/model.h"
#include "models/split/embedding_lookups.h"
#include "models/split/embedding_rewrite.h"
#include "models/split/embedding_verify.h"
#include "tests/models/split/split_fixture.h"

namespace portico {

/// A table that no rows of repeat in: value = row + d / 16.
inline Tensor TableValues(int64_t rows, int64_t dim, float first = 0) {
  std::vector<float> values(static_cast<size_t>(rows * dim));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = first + static_cast<float>(i / static_cast<size_t>(dim)) / 8 +
                static_cast<float>(i % static_cast<size_t>(dim)) / 64;
  }
  return Tensor::Of<float>({rows, dim}, absl::Span<const float>(values));
}

/// What became of a model: found, rewritten and compared, with nothing written.
class EmbeddingRewriting {
 public:
  explicit EmbeddingRewriting(const ModelBuilder& builder, uint64_t min_bytes = 64)
      : EmbeddingRewriting([&] { return Model::FromProto(builder.Build(), "", store()); }(), min_bytes) {}
  EmbeddingRewriting(absl::StatusOr<Model> loaded, uint64_t min_bytes) : model(std::move(loaded)) {
    status = Run(min_bytes);
  }

  /// Attribute of the `portal`-th EmbeddingBag, as text: "sum,none", "8,8".
  std::string Attribute(absl::string_view name, int portal = 0) const {
    for (const auto& node : rewritten->proto().graph().node()) {
      if (node.op_type() != "EmbeddingBag" || portal-- > 0) continue;
      for (const auto& attribute : node.attribute()) {
        if (attribute.name() != name) continue;
        std::vector<std::string> words(attribute.strings().begin(), attribute.strings().end());
        for (const int64_t value : attribute.ints()) words.push_back(std::to_string(value));
        if (attribute.has_s()) words.push_back(attribute.s());
        if (attribute.has_i()) words.push_back(std::to_string(attribute.i()));
        return absl::StrJoin(words, ",");
      }
      return "";
    }
    return "no such portal";
  }
  std::vector<std::string> Inputs(int portal = 0) const {
    for (const auto& node : rewritten->proto().graph().node()) {
      if (node.op_type() == "EmbeddingBag" && portal-- == 0) return {node.input().begin(), node.input().end()};
    }
    return {};
  }

  static WeightStore& store() {
    static auto* const store = new WeightStore();
    return *store;
  }

  absl::StatusOr<Model> model;
  std::optional<LookupGraph> lookups;
  std::optional<Model> rewritten;
  /// Of the first step that failed.
  absl::Status status;

 private:
  absl::Status Run(uint64_t min_bytes) {
    if (!model.ok()) return model.status();
    auto index = GraphIndex::Create(model->proto());
    if (!index.ok()) return index.status();
    auto found = FindLookups(*model, *index, min_bytes);
    if (!found.ok()) return found.status();
    lookups = *std::move(found);
    auto made = RewriteLookups(*model, *index, *lookups, "group", Sha256("model"));
    if (!made.ok()) return made.status();
    rewritten = *std::move(made);
    VerifyOptions options;
    options.rows = {1, 2, 7};
    auto verifier = EmbeddingVerifier::Create(*model, *lookups, options);
    if (!verifier.ok()) return verifier.status();
    return (*verifier)->CheckRewriting(*rewritten);
  }
};

}  // namespace portico
