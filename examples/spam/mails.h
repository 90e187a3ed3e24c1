#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "examples/model_calls.h"

namespace portico::spam {

/// The mails that no model was trained on, and what people said of them. A value.
struct Mails {
  /// `text` and `sender`, strings[N].
  examples::Rows inputs;
  std::vector<bool> spam;
  /// What the generator's own odds say: nobody can be right more often but by luck.
  std::vector<bool> best;

  int64_t size() const { return static_cast<int64_t>(spam.size()); }
  absl::string_view text(int64_t index) const { return inputs[0].tensor.StringAt(static_cast<uint64_t>(index)); }
  absl::string_view sender(int64_t index) const { return inputs[1].tensor.StringAt(static_cast<uint64_t>(index)); }
  /// The share that `scores` (spam: above 0.5) gets right.
  double Right(absl::Span<const float> scores) const;
  double BestRight() const;
};

/// FOLDER/heldout.tsv. INVALID_ARGUMENT with the line that is none.
absl::StatusOr<Mails> ReadMails(const std::string& folder);

}  // namespace portico::spam
