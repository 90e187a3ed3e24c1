#pragma once

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "hub/publish.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/version_model.h"

namespace portico {

/// A store in a folder of the test's own, and packages to publish there.
class HubFolder {
 public:
  std::string root() const { return folder_.path() + "/store"; }
  std::string cache() const { return folder_.path() + "/cache"; }
  const TempFolder& folder() const { return folder_; }

  /// A package whose content follows from `content`, with a vocabulary beside it; its version folder.
  std::string Package(int64_t content, int64_t columns = 16) const {
    const std::string folder = folder_.Folder(absl::StrCat("packages/", content, "/1"));
    VersionModel(content, columns).WriteTo(folder + "/model.onnx");
    folder_.Write(absl::StrCat("packages/", content, "/1/assets/words.txt"), "one\ntwo\n");
    return folder;
  }

  absl::StatusOr<PublishResult> Publish(const std::string& handle, const std::string& source,
                                        const std::string& family = "") const {
    Publication publication;
    publication.handle = *ParseHandle(handle);
    publication.source = source;
    publication.family = family;
    publication.tool = "test";
    return portico::Publish(root(), publication, Clock::Real());
  }
  /// Publishes Package(content) as `handle`.
  PublishResult Put(const std::string& handle, int64_t content, int64_t columns = 16) const {
    auto result = Publish(handle, Package(content, columns));
    PORTICO_CHECK(result.ok());
    return *std::move(result);
  }

  /// Names in a folder of the store that are left of work under way.
  size_t Staging() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(root())) {
      count += entry.path().filename().string().find(".staging") == 0 ? 1 : 0;
    }
    return count;
  }

 private:
  TempFolder folder_;
};

}  // namespace portico
