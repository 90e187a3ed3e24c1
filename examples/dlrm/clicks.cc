#include "examples/dlrm/clicks.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/npy.h"

namespace portico::dlrm {

double Clicks::Auc(absl::Span<const float> scores) const {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  double hits = 0;
  double ranks = 0;
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && scores[order[end]] == scores[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i) {
      if (!clicked[order[i]]) continue;
      ++hits;
      ranks += static_cast<double>(begin + end + 1) / 2;
    }
    begin = end;
  }
  return (ranks - hits * (hits + 1) / 2) / (hits * (static_cast<double>(size()) - hits));
}

absl::StatusOr<Clicks> ReadClicks(const std::string& folder) {
  Clicks clicks;
  const auto read = [&](absl::string_view name) { return ReadNpy(absl::StrCat(folder, "/heldout_", name, ".npy")); };
  for (const char* name : {"numbers", "ids", "seen"}) {
    ASSIGN_OR_RETURN(Tensor tensor, read(name));
    clicks.inputs.push_back({name, std::move(tensor)});
  }
  ASSIGN_OR_RETURN(const Tensor clicked, read("clicked"));
  ASSIGN_OR_RETURN(const Tensor odds, read("odds"));
  if (clicked.dtype() != DType::kUint8 || odds.dtype() != DType::kFloat || clicked.shape() != odds.shape() ||
      clicked.rows() != clicks.inputs[0].tensor.rows()) {
    return absl::InvalidArgumentError(absl::StrCat("held-out clicks in '", folder,
                                                   "': got arrays that do not belong together; remove the folder and "
                                                   "run examples/dlrm/prepare.sh"));
  }
  for (const uint8_t one : clicked.data<uint8_t>()) clicks.clicked.push_back(one != 0);
  clicks.odds.assign(odds.data<float>().begin(), odds.data<float>().end());
  return clicks;
}

}  // namespace portico::dlrm
