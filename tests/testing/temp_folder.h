#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/check.h"

namespace portico {

/// A new, empty folder, removed with all it holds at the end of the scope.
class TempFolder {
 public:
  explicit TempFolder(const std::filesystem::path& parent = std::filesystem::temp_directory_path()) {
    std::string pattern = (parent / "portico_test_XXXXXX").string();
    PORTICO_CHECK(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  /// Path of `name` ("a/b.txt") in the folder; folders in front of the last part are made.
  std::string File(absl::string_view name) const {
    const std::filesystem::path file = absl::StrCat(path_, "/", name);
    std::filesystem::create_directories(file.parent_path());
    return file.string();
  }
  /// Path of the folder `name` in the folder, made where missing.
  std::string Folder(absl::string_view name) const {
    const std::string folder = absl::StrCat(path_, "/", name);
    std::filesystem::create_directories(folder);
    return folder;
  }
  /// Writes `content` to File(name) and returns its path.
  std::string Write(absl::string_view name, absl::string_view content) const {
    std::string file = File(name);
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
    out.close();
    PORTICO_CHECK(out.good());
    return file;
  }
  std::string Read(absl::string_view name) const {
    std::ifstream in(File(name), std::ios::binary);
    PORTICO_CHECK(in.good());
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }

 private:
  std::string path_;
};

}  // namespace portico
