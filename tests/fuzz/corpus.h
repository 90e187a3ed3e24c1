#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tests/fuzz/fuzz.h"

namespace portico {

/// The seeds of one fuzzer.
class Corpus {
 public:
  Corpus(const std::string& folder, const std::string& fuzzer) : folder_(absl::StrCat(folder, "/", fuzzer)) {
    std::filesystem::create_directories(folder_);
  }
  void Add(absl::string_view seed) {
    std::ofstream out(absl::StrCat(folder_, "/seed", next_++), std::ios::binary | std::ios::trunc);
    out.write(seed.data(), static_cast<std::streamsize>(seed.size()));
    FuzzCheck(out.good(), "the seed is written");
  }

 private:
  const std::string folder_;
  int next_ = 0;
};

/// Those of the readers in embedding/.
void MakeTableCorpora(const std::string& folder);

}  // namespace portico
