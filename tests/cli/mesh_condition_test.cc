#include "cli/mesh_condition.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::string> Change(const std::string& text, const std::string& when = "margin(p) < 0.25") {
  return WithCondition(text, "mesh.yaml", "spam", 1, when);
}

TEST(MeshCondition, ReplacesTheConditionAndNothingElse) {
  // %: the condition as it stands.
  const char* const file =
      "# größer\nmesh: mail\nmodels:\n  a: {path: p}   # comment\n  spam:\n    cascade:\n"
      "      stages: [a, {model: b, when: % }]  # keep\n      outputs: [p]\n"
      "  other: {cascade: {stages: [a, {model: b, when: \"score > 0.1\"}]}}\n";
  for (const char* old :
       {"\"score > 0.1\"", "'score > 0.1'", "score > 0.1", "\"domain == \\\"x\\\"\"", "'it''s > 3'"}) {
    const auto changed = Change(absl::StrReplaceAll(file, {{"%", old}}));
    ASSERT_TRUE(changed.ok()) << changed.status();
    EXPECT_EQ(*changed, absl::StrReplaceAll(file, {{"%", "\"margin(p) < 0.25\""}}));
  }
}

TEST(MeshCondition, BlocksOfMappingsAreReplacedToo) {
  const std::string file =
      "models:\n  spam:\n    cascade:\n      stages:\n        - a\n        - model: b\n"
      "          when: score > 0.1 && score < 0.9   # old\n          pin: true\n";
  const auto changed = Change(file);
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(*changed, absl::StrReplaceAll(file, {{"score > 0.1 && score < 0.9", "\"margin(p) < 0.25\""}}));
}

TEST(MeshCondition, QuotesAreChosenByWhatStandsInside) {
  const std::string file = "models: {spam: {cascade: {stages: [a, {model: b, when: x}]}}}\n";
  EXPECT_EQ(*Change(file, "domain == \"it's\""),
            "models: {spam: {cascade: {stages: [a, {model: b, when: 'domain == \"it''s\"'}]}}}\n");
}

TEST(MeshCondition, WhatCannotBeReplacedSafelyIsSaid) {
  for (const char* stages :
       {"\n        - a\n        - model: b\n          when: >\n            score\n            > 0.1\n",
        " [a, {model: b, when: \"score >\n          0.1\"}]\n"}) {
    const auto changed = Change(absl::StrCat("models:\n  spam:\n    cascade:\n      stages:", stages));
    ASSERT_FALSE(changed.ok()) << *changed;
    EXPECT_THAT(std::string(changed.status().message()), HasSubstr("write by hand  when: \"margin(p) < 0.25\""));
  }
  // The other would change with it.
  const auto shared = Change(
      "models:\n  other: {cascade: {stages: [a, {model: b, when: &w \"score > 0.1\"}]}}\n"
      "  spam: {cascade: {stages: [a, {model: b, when: *w}]}}\n");
  EXPECT_FALSE(shared.ok());
  EXPECT_FALSE(WithCondition("models: {spam: {path: x}}\n", "mesh.yaml", "spam", 1, "x").ok());
}

}  // namespace
}  // namespace portico
