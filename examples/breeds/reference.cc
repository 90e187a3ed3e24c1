#include "examples/breeds/reference.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "examples/breeds/animals.h"

namespace portico::breeds {
namespace {

using examples::LocalModel;
using examples::Rows;

constexpr int64_t kRowsPerRun = 50;

absl::StatusOr<std::vector<float>> RunAll(const std::string& folder, const std::string& model,
                                          const std::string& output, const Rows& pictures) {
  ASSIGN_OR_RETURN(const LocalModel local, LocalModel::Load(absl::StrCat(folder, "/packages/", model)));
  ASSIGN_OR_RETURN(const Rows answers,
                   examples::AskInPieces(pictures, kRowsPerRun, [&](const Rows& piece) { return local.Run(piece); }));
  ASSIGN_OR_RETURN(const Tensor tensor, examples::FindTensor(answers, output, DType::kFloat));
  const auto values = tensor.data<float>();
  return std::vector<float>(values.begin(), values.end());
}

}  // namespace

absl::StatusOr<Reference> Compute(const std::string& folder, const Rows& pictures) {
  Reference reference;
  ASSIGN_OR_RETURN(const std::vector<float> gates, RunAll(folder, "breed-gate", "gate", pictures));
  ASSIGN_OR_RETURN(reference.cats, RunAll(folder, "breed-cats", "probabilities", pictures));
  ASSIGN_OR_RETURN(reference.dogs, RunAll(folder, "breed-dogs", "probabilities", pictures));
  ASSIGN_OR_RETURN(reference.general, RunAll(folder, "breed-general", "probabilities", pictures));
  for (size_t i = 0; i < reference.cats.size(); ++i) {
    const size_t row = i / static_cast<size_t>(kBreeds);
    const float cat = gates[2 * row], dog = gates[2 * row + 1];
    if (i % static_cast<size_t>(kBreeds) == 0) reference.chosen.push_back(dog > cat ? 1 : 0);
    const float of_cats = 1 / (1 + std::exp(dog - cat));
    reference.best.push_back(dog > cat ? reference.dogs[i] : reference.cats[i]);
    reference.both.push_back(of_cats * reference.cats[i] + (1 - of_cats) * reference.dogs[i]);
    reference.mean.push_back((reference.cats[i] + reference.dogs[i]) / 2);
  }
  return reference;
}

}  // namespace portico::breeds
