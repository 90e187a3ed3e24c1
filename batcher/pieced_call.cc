#include "batcher/pieced_call.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "batcher/rows.h"

namespace portico {

absl::StatusOr<std::vector<Tensor>> PiecedCall::Joined() const {
  for (const auto& result : results_) RETURN_IF_ERROR(result.status());
  std::vector<Tensor> joined;
  for (size_t output = 0; output < results_[0]->size(); ++output) {
    std::vector<Tensor> parts;
    for (const auto& result : results_) {
      const Tensor& part = (*result)[output];
      const bool fits = part.dtype() == (*results_[0])[output].dtype() &&
                        absl::MakeConstSpan(part.shape()).subspan(1) ==
                            absl::MakeConstSpan((*results_[0])[output].shape()).subspan(1);
      if (!fits) {
        return absl::InternalError(absl::StrCat(
            "request: its pieces' outputs have shapes ", ShapeString((*results_[0])[output].shape()), " and ",
            ShapeString(part.shape()), ", want equal ones but for rows; switch large batch splitting off"));
      }
      parts.push_back(part);
    }
    joined.push_back(ConcatRows(parts));
  }
  return joined;
}

}  // namespace portico
