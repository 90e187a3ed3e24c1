#include "examples/spam/reference.h"

#include "base/status_macros.h"

namespace portico::spam {
namespace {

using examples::FindTensor;
using examples::LocalModel;
using examples::Rows;

// mesh.yaml: when.
constexpr float kSurelyNot = 0.1f, kSurely = 0.9f;
constexpr int64_t kRowsPerRun = 50;

absl::StatusOr<std::vector<float>> Scores(const Rows& answers) {
  ASSIGN_OR_RETURN(const Tensor score, FindTensor(answers, "score", DType::kFloat));
  const auto values = score.data<float>();
  return std::vector<float>(values.begin(), values.end());
}

absl::StatusOr<Rows> RunAll(const LocalModel& model, const Rows& mails) {
  return examples::AskInPieces(mails, kRowsPerRun, [&](const Rows& piece) { return model.Run(piece); });
}

}  // namespace

absl::StatusOr<Reference> Compute(const std::string& folder, const Rows& mails) {
  ASSIGN_OR_RETURN(const LocalModel trigger, LocalModel::Load(folder + "/packages/spam-trigger"));
  ASSIGN_OR_RETURN(const LocalModel full, LocalModel::Load(folder + "/packages/spam-full"));
  Reference reference;
  ASSIGN_OR_RETURN(const Rows cheap, RunAll(trigger, mails));
  ASSIGN_OR_RETURN(reference.trigger, Scores(cheap));
  ASSIGN_OR_RETURN(const Tensor rule, FindTensor(cheap, "rule", DType::kString));
  ASSIGN_OR_RETURN(const Rows costly, RunAll(full, mails));
  ASSIGN_OR_RETURN(reference.full, Scores(costly));

  reference.cascade = reference.trigger;
  std::vector<int64_t> unsure;
  for (size_t i = 0; i < reference.trigger.size(); ++i) {
    const float score = reference.trigger[i];
    reference.escalated.push_back(rule.StringAt(i).empty() && score > kSurelyNot && score < kSurely);
    if (reference.escalated.back()) unsure.push_back(static_cast<int64_t>(i));
  }
  if (unsure.empty()) return reference;
  ASSIGN_OR_RETURN(const Rows answers, RunAll(full, examples::TakeRows(mails, unsure)));
  ASSIGN_OR_RETURN(const std::vector<float> scores, Scores(answers));
  for (size_t i = 0; i < unsure.size(); ++i) reference.cascade[static_cast<size_t>(unsure[i])] = scores[i];
  return reference;
}

}  // namespace portico::spam
