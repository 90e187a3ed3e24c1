#include "batcher/run_parts.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace portico {

RunParts PartsOf(const std::vector<WaitingCall>& calls, absl::Time start) {
  RunParts parts;
  for (const WaitingCall& call : calls) {
    auto part = std::find_if(parts.begin(), parts.end(),
                             [&](const RunPart& candidate) { return candidate.product == call.product; });
    if (part == parts.end()) part = parts.insert(part, RunPart{.product = call.product});
    ++part->calls;
    part->rows += call.rows;
    part->queued += start - call.since;
  }
  return parts;
}

std::string Describe(RunParts parts) {
  constexpr size_t kMost = 8;
  std::stable_sort(parts.begin(), parts.end(), [](const RunPart& a, const RunPart& b) { return a.rows > b.rows; });
  std::string text;
  for (size_t i = 0; i < std::min(parts.size(), kMost); ++i) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", parts[i].product->name, " ", parts[i].rows,
                    parts[i].rows == 1 ? " row" : " rows");
  }
  if (parts.size() > kMost) absl::StrAppend(&text, ", ", parts.size() - kMost, " more");
  return text;
}

}  // namespace portico
