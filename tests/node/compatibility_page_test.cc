#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

std::string ReadText(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// "Suite.Name" of every test of the repository, those of the foreign clients (Python) among them.
std::set<std::string> Tests() {
  std::set<std::string> tests;
  const std::regex in_cc(R"(\bTEST(_F|_P)?\(\s*(\w+),\s*(\w+)\))"), py_class(R"(^class (\w+))"),
      py_test(R"(^    def (test_\w+))");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(PORTICO_SOURCE_DIR "/tests")) {
    if (absl::EndsWith(entry.path().string(), "_test.cc")) {
      const std::string text = ReadText(entry.path());
      for (std::sregex_iterator it(text.begin(), text.end(), in_cc), end; it != end; ++it) {
        tests.insert(absl::StrCat((*it)[2].str(), ".", (*it)[3].str()));
      }
    } else if (absl::EndsWith(entry.path().string(), "_test.py")) {
      std::string suite;
      std::ifstream file(entry.path());
      std::smatch match;
      for (std::string line; std::getline(file, line);) {
        if (std::regex_search(line, match, py_class)) suite = match[1];
        if (std::regex_search(line, match, py_test)) tests.insert(absl::StrCat(suite, ".", match[1].str()));
      }
    }
  }
  return tests;
}

/// Cells of a table's line, without the spaces around them.
std::vector<std::string> Cells(const std::string& line) {
  std::vector<std::string> cells = absl::StrSplit(absl::StrReplaceAll(line, {{"\\|", "/"}}), '|');
  cells.erase(cells.begin());
  cells.pop_back();
  for (std::string& cell : cells) absl::StripAsciiWhitespace(&cell);
  return cells;
}

size_t ColumnOf(const std::vector<std::string>& head, const std::string& name) {
  return static_cast<size_t>(std::find(head.begin(), head.end(), name) - head.begin());
}

/// Whether `named`, "Suite", "Suite.Name" or one of those that ends in *, is among `tests`.
bool Exists(const std::set<std::string>& tests, std::string named) {
  if (!absl::StrContains(named, ".")) named += ".*";
  if (named.back() != '*') return tests.count(named) != 0;
  named.pop_back();
  const auto found = tests.lower_bound(named);
  return found != tests.end() && absl::StartsWith(*found, named);
}

TEST(CompatibilityPageTest, WhatWorksNamesATestAndEveryTestExists) {
  const std::set<std::string> tests = Tests();
  ASSERT_GT(tests.size(), 500u);
  const std::regex quoted("`([^`]+)`");
  std::vector<std::string> head;
  int works = 0, named_tests = 0;
  std::ifstream page(PORTICO_SOURCE_DIR "/docs/compatibility.md");
  for (std::string line; std::getline(page, line);) {
    if (!absl::StartsWith(line, "|")) {
      head.clear();
      continue;
    }
    const std::vector<std::string> cells = Cells(line);
    if (head.empty()) {
      head = cells;
      continue;
    }
    EXPECT_EQ(cells.size(), head.size()) << line;
    const size_t state = ColumnOf(head, "state"), test = ColumnOf(head, "test");
    if (cells.size() != head.size() || absl::StartsWith(cells[0], "---") || state == head.size()) continue;
    ASSERT_LT(test, head.size()) << "a table with states wants a column of tests: " << line;
    if (absl::StartsWith(cells[state], "works")) {
      ++works;
      EXPECT_NE(cells[test], "") << line;
    }
    std::string suite;
    for (std::sregex_iterator it(cells[test].begin(), cells[test].end(), quoted), end; it != end; ++it) {
      const std::vector<std::string> words = absl::StrSplit((*it)[1].str(), ' ');
      // ".Name" is of the suite named before.
      const std::string name = absl::StartsWith(words.back(), ".") ? suite + words.back() : words.back();
      suite = name.substr(0, name.find('.'));
      ++named_tests;
      EXPECT_TRUE(Exists(tests, name)) << "no test '" << name << "': " << line;
    }
  }
  EXPECT_GT(works, 50);
  EXPECT_GT(named_tests, 100);
}

}  // namespace
}  // namespace portico
