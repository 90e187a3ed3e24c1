#include "models/compose/compose.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/package/folder_transaction.h"

namespace portico {

absl::StatusOr<ComposedModel> Compose(const Composition& composition, const FindIngredient& find) {
  switch (composition.kind) {
    case Composition::Kind::kCascade:
      return ComposeCascade(composition, find);
    case Composition::Kind::kExperts:
      return ComposeExperts(composition, find);
    case Composition::Kind::kSequence:
      return ComposeSequence(composition, find);
    case Composition::Kind::kEnsemble:
      return ComposeEnsemble(composition, find);
  }
  return absl::InternalError("composition: got no kind");
}

absl::Status WriteComposed(const ComposedModel& model, const std::string& folder) {
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::symlink_status(folder, error))) {
    return absl::AlreadyExistsError(
        absl::StrCat("folder '", folder, "': got one that is there, want none; choose another --version"));
  }
  FolderTransaction transaction;
  RETURN_IF_ERROR(transaction.Add(model.package.model, folder, {{"servable.yaml", model.config}}));
  return transaction.Commit();
}

}  // namespace portico
