#pragma once

#include <filesystem>
#include <string>

#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {

/// The real binary, in a folder of the test's own.
class CliFolder : public ::testing::Test {
 protected:
  struct Result {
    int exit_code;
    std::string out;
    std::string err;
  };

  /// `arguments` as a shell takes them.
  Result Portico(const std::string& arguments);
  bool Exists(const std::string& name) { return std::filesystem::exists(folder_.path() + "/" + name); }

  TempFolder folder_;
};

}  // namespace portico
