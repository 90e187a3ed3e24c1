#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/package/folder_transaction.h"
#include "models/split/split.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// True when `folder` has the model already; ALREADY_EXISTS when it has something else.
absl::StatusOr<bool> IsThere(const SplitModel& split, const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(folder, error))) return false;
  const auto exists = [&](absl::string_view got) {
    return absl::AlreadyExistsError(absl::StrCat("folder '", folder.string(), "': got ", got, ", want digest ",
                                                 split.digest.Short(), " or no such folder; choose another --version"));
  };
  WeightStore store;
  const absl::StatusOr<Model> model = Model::Load((folder / "model.onnx").string(), store);
  if (!model.ok()) return exists(absl::StrCat("something else (", model.status().message(), ")"));
  ASSIGN_OR_RETURN(const Digest digest, ModelDigest(*model));
  if (digest != split.digest) return exists(absl::StrCat("digest ", digest.Short()));
  return true;
}

}  // namespace

absl::Status WriteSplit(const std::vector<SplitModel>& split, const std::string& out, int64_t version) {
  if (version < 1) return absl::InvalidArgumentError(absl::StrCat("version: got ", version, ", want at least 1"));
  const auto folder_of = [&](const SplitModel& model) { return fs::path(out) / model.name / absl::StrCat(version); };
  std::vector<const SplitModel*> missing;
  // The product, which is first, comes last: what is in place never lacks its parts.
  for (size_t i = 1; i <= split.size(); ++i) {
    const SplitModel& model = split[i % split.size()];
    RETURN_IF_ERROR(CheckServableName(model.name));
    ASSIGN_OR_RETURN(const bool there, IsThere(model, folder_of(model)));
    if (!there) missing.push_back(&model);
  }
  FolderTransaction transaction;
  for (const SplitModel* model : missing) RETURN_IF_ERROR(transaction.Add(model->model, folder_of(*model)));
  return transaction.Commit();
}

}  // namespace portico
