#pragma once

#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace portico::examples {

/// What every demo's command line has.
struct DemoFlags {
  std::string portico;
  /// Of the example.
  std::string folder;
  bool once = false;
};

struct DemoProgram {
  /// "spam": the folder examples/spam, the program portico_spam_demo.
  std::string example;
  /// What it does, for --help.
  std::string description;
};

/// A demo's main(): reads the command line, runs `demo`, says what went wrong. Its exit status.
int DemoMain(int argc, char** argv, const DemoProgram& program, absl::FunctionRef<absl::Status(const DemoFlags&)> demo);

/// One line on standard output, at once.
void Say(const std::string& line);

/// The example's mesh.yaml into `folder`. With --once on ports that the system chooses, so that it runs beside
/// anything.
absl::Status WriteMesh(const DemoFlags& flags, const std::string& folder);

/// A temporary folder, removed with this object.
class DemoFolder {
 public:
  static absl::StatusOr<DemoFolder> Create();
  /// The same with a copy of the example's packages/ and WriteMesh()'s mesh.yaml in it: ready for `portico up`.
  static absl::StatusOr<DemoFolder> WithMesh(const DemoFlags& flags);
  DemoFolder(DemoFolder&& other) noexcept;
  ~DemoFolder();

  const std::string& path() const { return path_; }

 private:
  explicit DemoFolder(std::string path) : path_(std::move(path)) {}
  /// Empty: moved from.
  std::string path_;
};

}  // namespace portico::examples
