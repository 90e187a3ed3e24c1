#include "cli/upgrade_comparison.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/answer_comparison.h"
#include "base/status_macros.h"
#include "cli/progress_line.h"
#include "cli/terminal_text.h"
#include "node/frontend/tfs_codec.h"

namespace portico {
namespace {

/// Of one recorded request's or answer's tensors.
constexpr uint64_t kMaxTensorBytes = uint64_t{2} << 30;

/// "record 3 of 'x.tfrecord': ".
std::string Place(const RecordedRequest& request) {
  return absl::StrCat("record ", request.index_in_file, " of '", request.path, "': ");
}

/// Whether the old version answers here what was recorded.
absl::StatusOr<bool> AsRecorded(const RecordedRequest& request, const ProductTrial::Answer& answer) {
  ASSIGN_OR_RETURN(const PredictAnswer recorded,
                   ReadPredictResponse(request.log.response, request.file, kMaxTensorBytes));
  std::vector<NamedTensor> got;
  for (const NamedTensor& want : recorded.outputs) {
    const int index = answer.signature->OutputIndex(want.name);
    if (index >= 0) got.push_back({want.name, answer.outputs[static_cast<size_t>(index)]});
  }
  return CompareAnswers(got, recorded.outputs, 0).agrees;
}

}  // namespace

void UpgradeComparison::LeaveOut(absl::string_view place, absl::string_view why) {
  if (left_out_++ == 0) why_left_out_ = absl::StrCat(place, why);
}

void UpgradeComparison::Compare(const RecordedRequest& request, ProductTrial& trial) {
  const absl::StatusOr<PredictRequestView> view = ReadPredictRequest(request.log.request);
  if (!view.ok()) return LeaveOut(Place(request), view.status().message());
  if (view->spec.name != options_.model) {
    ++others_[std::string(view->spec.name)];
    return;
  }
  if (request.log.code != absl::StatusCode::kOk)
    return LeaveOut(Place(request), absl::StrCat("failed then: ", request.log.message));
  const absl::StatusOr<std::vector<NamedTensor>> inputs = ReadPredictInputs(*view, request.file, kMaxTensorBytes);
  if (!inputs.ok()) return LeaveOut(Place(request), inputs.status().message());
  const std::string signature(view->spec.signature);
  const absl::StatusOr<ProductTrial::Answer> before = trial.Run(0, signature, *inputs);
  if (!before.ok()) return LeaveOut(Place(request), before.status().message());
  if (request.log.has_response) {
    const absl::StatusOr<bool> same = AsRecorded(request, *before);
    if (same.ok()) {
      ++with_answer_;
      as_recorded_ += *same ? 1 : 0;
    }
  }
  const absl::StatusOr<ProductTrial::Answer> after = trial.Run(1, signature, *inputs);
  if (!after.ok()) {
    if (failed_++ == 0) why_failed_ = absl::StrCat(Place(request), after.status().message());
    return;
  }
  shift_.Add(before->signature->outputs, before->outputs, after->outputs);
}

absl::Status UpgradeComparison::Run(RecordedRequests requests, ProductTrial& trial) {
  ProgressLine progress("comparing");
  while (options_.limit == 0 || compared() < options_.limit) {
    const absl::StatusOr<std::optional<RecordedRequest>> request = requests.Next();
    if (!request.ok()) {
      // A node that was killed while it recorded leaves half a record at a file's end.
      LeaveOut("", absl::StrCat(request.status().message(), "; so is what stands behind it in the file"));
      continue;
    }
    if (!request->has_value()) break;
    Compare(**request, trial);
    progress.Show(static_cast<uint64_t>(1000 * requests.progress()), 1000, "thousandths");
  }
  if (compared() > 0) return absl::OkStatus();
  std::string got =
      left_out_ > 0 ? absl::StrCat(left_out_, " requests that cannot be compared (", ForTerminal(why_left_out_), ")")
                    : std::string("none");
  if (left_out_ == 0 && !others_.empty()) {
    got = absl::StrCat("those of ", absl::StrJoin(others_, ", ", [](std::string* out, const auto& other) {
                         absl::StrAppend(out, "'", ForTerminal(other.first), "' (", other.second, ")");
                       }));
  }
  return absl::InvalidArgumentError(absl::StrCat("--requests: got ", got, ", want recorded requests of '",
                                                 options_.model, "'; --model says which model's to take"));
}

absl::Status UpgradeComparison::Judge() const {
  if (failed_ > 0) {
    return absl::FailedPreconditionError(absl::StrCat("the new version fails ", failed_, " of ", compared(),
                                                      " requests that the old one answers: ", why_failed_));
  }
  const AnswerShift::Output* const worst = shift_.Worst();
  if (worst != nullptr && worst->rows == 0) {
    return absl::FailedPreconditionError(absl::StrCat("output '", ForTerminal(worst->name),
                                                      "': got no row in any request, so that nothing was compared"));
  }
  if (worst == nullptr || worst->changed_share() <= options_.max_changed) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrFormat(
      "output '%s': got other answers for %d of %d rows, %.3g %%, want at most %.3g %% (--max-changed)",
      ForTerminal(worst->name), worst->changed, worst->rows, 100 * worst->changed_share(), 100 * options_.max_changed));
}

std::string UpgradeComparison::Text() const {
  std::string text = absl::StrCat(shift_.requests(), " recorded requests answered by both versions\n", shift_.Text());
  if (as_recorded_ < with_answer_) {
    absl::StrAppend(&text, with_answer_ - as_recorded_, " of ", with_answer_,
                    " recorded answers are not what the old version answers here: they may be of another version\n");
  }
  if (left_out_ > 0) {
    absl::StrAppend(&text, left_out_, " requests left out; the first: ", ForTerminal(why_left_out_), "\n");
  }
  uint64_t others = 0;
  for (const auto& [name, count] : others_) others += count;
  if (others > 0) absl::StrAppend(&text, others, " requests are of other models\n");
  return text;
}

}  // namespace portico
