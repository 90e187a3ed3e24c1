#include "examples/spam/mails.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico::spam {
namespace {

constexpr uint64_t kMaxFileBytes = 64 << 20;

}  // namespace

double Mails::Right(absl::Span<const float> scores) const {
  int64_t right = 0;
  for (size_t i = 0; i < spam.size(); ++i) right += (scores[i] > 0.5f) == spam[i];
  return static_cast<double>(right) / static_cast<double>(size());
}

double Mails::BestRight() const {
  int64_t right = 0;
  for (size_t i = 0; i < spam.size(); ++i) right += best[i] == spam[i];
  return static_cast<double>(right) / static_cast<double>(size());
}

absl::StatusOr<Mails> ReadMails(const std::string& folder) {
  const std::string path = folder + "/heldout.tsv";
  ASSIGN_OR_RETURN(const std::string file, ReadFile(path, kMaxFileBytes));
  Mails mails;
  std::vector<absl::string_view> texts, senders;
  for (const absl::string_view line : absl::StrSplit(file, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, '\t');
    double log_odds = 0;
    if (fields.size() != 4 || (fields[0] != "0" && fields[0] != "1") || !absl::SimpleAtod(fields[1], &log_odds)) {
      return absl::InvalidArgumentError(absl::StrCat(path, ":", mails.size() + 1, ": got '", line.substr(0, 60),
                                                     "', want 0 or 1, log odds, sender and text between tabs; check "
                                                     "the file out again"));
    }
    mails.spam.push_back(fields[0] == "1");
    mails.best.push_back(log_odds > 0);
    senders.push_back(fields[2]);
    texts.push_back(fields[3]);
  }
  if (texts.empty()) return absl::InvalidArgumentError(path + ": got no mails, want some; check the file out again");
  const auto strings = [](const std::vector<absl::string_view>& values) {
    return Tensor::OfStrings({static_cast<int64_t>(values.size())}, absl::MakeConstSpan(values));
  };
  mails.inputs = {{"text", strings(texts)}, {"sender", strings(senders)}};
  return mails;
}

}  // namespace portico::spam
