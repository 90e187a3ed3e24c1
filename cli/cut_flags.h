#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/split/called_models.h"
#include "models/split/split.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace portico {

/// Where `portico split` and `portico share` write what they cut, and what they compare it with.
struct CutFlags {
  std::string out;
  int64_t version = 1;
  std::string samples;
  std::vector<std::string> packages;

  /// `without`: what happens without --out, "; ..."; empty where it has to be there.
  CLI::Option* AddOut(CLI::App& command, const std::string& without);
  /// `samples_folder`: where recorded inputs lie in --samples, for people.
  void AddOthers(CLI::App& command, const std::string& samples_folder);

  /// Where what portals call is looked for: what --package says, `models` themselves, packages in folders around them
  /// and in `out`, and modules that were pulled. NOT_FOUND where --package names what is not there.
  absl::StatusOr<std::vector<CalledModels::Place>> Places(const std::vector<CalledModels::Place>& models) const;

  /// `out`/NAME/`version`.
  std::string FolderOf(const std::string& name) const;
};

/// "verified: 3 runs equal to ...", with what was not compared. `subject` goes in front of the runs and may be empty;
/// `original`: "the unsplit model".
std::string VerifiedText(const std::string& subject, const std::string& original, const VerifyReport& report);

}  // namespace portico
