#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/package/folder_transaction.h"
#include "models/package/package.h"
#include "models/split/split.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// What `model` declares, without names: symbols count by which extents they make equal.
absl::StatusOr<std::string> Declared(const Model& model) {
  ASSIGN_OR_RETURN(const Signature signature, GraphSignature(model));
  absl::flat_hash_map<std::string, size_t> symbols;
  std::string text;
  for (const std::vector<TensorSpec>* specs : {&signature.inputs, &signature.outputs}) {
    absl::StrAppend(&text, specs == &signature.outputs ? " -> " : "");
    for (TensorSpec spec : *specs) {
      for (Dim& dim : spec.dims) {
        if (!dim.symbol.empty())
          dim.symbol = absl::StrCat("d", symbols.emplace(dim.symbol, symbols.size()).first->second);
      }
      absl::StrAppend(&text, text.empty() || text.back() == ' ' ? "" : ", ", spec.ToString());
    }
  }
  return text;
}

/// What to do where the version folder is taken.
std::string FreeVersion(const fs::path& folder) {
  const absl::StatusOr<std::vector<VersionFolder>> versions = ListVersions(folder.parent_path().string());
  if (!versions.ok() || versions->empty()) return "choose another --version";
  return absl::StrCat("choose another --version: ", versions->back().version + 1, " is free");
}

/// True when `folder` has the model already; ALREADY_EXISTS when it has something else.
absl::StatusOr<bool> IsThere(const SplitModel& split, const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(folder, error))) return false;
  const auto exists = [&](absl::string_view got) {
    return absl::AlreadyExistsError(absl::StrCat("folder '", folder.string(), "': got ", got, ", want digest ",
                                                 split.digest.Short(), " or no such folder; ", FreeVersion(folder)));
  };
  WeightStore store;
  const absl::StatusOr<Model> model = Model::Load((folder / "model.onnx").string(), store);
  if (!model.ok()) return exists(absl::StrCat("something else (", model.status().message(), ")"));
  ASSIGN_OR_RETURN(const Digest digest, ModelDigest(*model));
  if (digest != split.digest) return exists(absl::StrCat("digest ", digest.Short()));
  ASSIGN_OR_RETURN(const std::string want, Declared(split.model));
  const absl::StatusOr<std::string> got = Declared(*model);
  if (!got.ok() || *got != want) {
    return absl::AlreadyExistsError(absl::StrCat("folder '", folder.string(), "': got the same graph declared as ",
                                                 got.ok() ? *got : std::string(got.status().message()), ", want ", want,
                                                 " or no such folder; ", FreeVersion(folder)));
  }
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
