#include "router/yaml_node.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(const std::string& text) { return std::string(ParseYaml(text, "f.yaml").status().message()); }

TEST(YamlNodeTest, KeepsOrderTextAndLines) {
  const auto root = ParseYaml("b: 1\na:\n  - x\n  - 'y z'\nc: {d: 2}\n", "f.yaml");
  ASSERT_TRUE(root.ok()) << root.status();
  ASSERT_EQ(root->entries().size(), 3u);
  EXPECT_EQ(root->entries()[0].key, "b");
  EXPECT_EQ(root->entries()[1].key, "a");
  const YamlNode* list = root->Find("a");
  ASSERT_NE(list, nullptr);
  EXPECT_EQ(list->line(), 2);
  EXPECT_EQ(list->items()[1].line(), 4);
  EXPECT_EQ(list->items()[1].Text("y").value(), "y z");
  EXPECT_EQ(root->Find("c")->line(), 5);
  EXPECT_EQ(root->Find("z"), nullptr);
}

TEST(YamlNodeTest, KeyThatIsThereTwiceIsRefused) {
  EXPECT_EQ(ErrorOf("a: 1\nb: 2\na: 3\n"), "f.yaml:3: key 'a': is there twice, first in line 1; rename or remove one");
  EXPECT_EQ(ErrorOf("m:\n  x: {p: 1}\n  y: {p: 1, p: 2}\n"),
            "f.yaml:3: key 'p': is there twice, first in line 3; rename or remove one");
}

TEST(YamlNodeTest, UnknownKeyIsRefusedAtItsLineWithTheKnownOnes) {
  const auto root = ParseYaml("a: 1\nbb: 2\n", "f.yaml");
  ASSERT_TRUE(root.ok());
  EXPECT_EQ(root->CheckMap("thing", {"a", "b"}).message(), "f.yaml:2: thing: got unknown key 'bb', want one of a, b");
  EXPECT_TRUE(root->CheckMap("thing", {}).ok());
}

TEST(YamlNodeTest, WhatIsNotYamlIsRefusedWithItsLine) {
  EXPECT_THAT(ErrorOf("a: 1\nb: [1, 2\n"), HasSubstr("f.yaml:"));
  EXPECT_THAT(ErrorOf("a: [1, 2\n"), HasSubstr("got no valid YAML"));
  EXPECT_EQ(ErrorOf("a: 1\n---\nb: 2\n"), "f.yaml:1: file: got several YAML documents, want one");
  EXPECT_EQ(ErrorOf(""), "f.yaml:1: file: got no YAML documents, want one");
  // Found by fuzzing: yaml-cpp gives documents without end for this.
  EXPECT_EQ(ErrorOf(",a: 1\n"), "f.yaml:1: file: got several YAML documents, want one");
  EXPECT_EQ(ErrorOf("? [a, b]\n: c\n"), "f.yaml:1: key: got a list, a map or nothing, want text");
}

TEST(YamlNodeTest, DeepNestingAndAliasesOfAliasesAreBounded) {
  EXPECT_FALSE(ParseYaml(std::string(100000, '['), "f.yaml").ok());
  // Found by fuzzing: an alias of the map that it stands in.
  EXPECT_THAT(ErrorOf("a: &m {n: *m}\n"), HasSubstr("deep, aliases expanded"));
  EXPECT_THAT(ErrorOf("a: &l [1, *l]\n"), HasSubstr("deep, aliases expanded"));
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    bomb += absl::StrCat("a", i, ": &a", i, " [");
    for (int j = 0; j < 10; ++j) bomb += absl::StrCat(j == 0 ? "" : ", ", "*a", i - 1);
    bomb += "]\n";
  }
  EXPECT_THAT(ErrorOf(bomb), HasSubstr("aliases expanded"));
}

TEST(YamlNodeTest, ValuesOfTheWrongKindAreRefused) {
  const auto root = ParseYaml("n: 12x\nd: 100\ne:\nl: [1]\nd2: -1s\ninf: inf\n", "f.yaml");
  ASSERT_TRUE(root.ok());
  EXPECT_EQ(root->Find("n")->Integer("n", 0, 9).status().message(),
            "f.yaml:1: n: got '12x', want a whole number from 0 to 9");
  EXPECT_EQ(root->Find("d")->Integer("d", 0, 9).status().message(),
            "f.yaml:2: d: got '100', want a whole number from 0 to 9");
  EXPECT_EQ(root->Find("d")->Duration("d").status().message(),
            "f.yaml:2: d: got '100', want a duration with its unit, such as 100ms or 2s");
  EXPECT_FALSE(root->Find("d2")->Duration("d2").ok());
  EXPECT_FALSE(root->Find("inf")->Duration("inf").ok());
  EXPECT_EQ(root->Find("e")->Text("e").status().message(), "f.yaml:3: e: got nothing, want text");
  EXPECT_EQ(root->Find("l")->Text("l").status().message(), "f.yaml:4: l: got a list, want text");
  EXPECT_EQ(root->CheckList("root").message(), "f.yaml:1: root: got a map, want a list such as [a, b]");
}

TEST(YamlNodeTest, FileThatIsNotThereIsNotFound) {
  const TempFolder folder;
  EXPECT_TRUE(absl::IsNotFound(ReadYaml(folder.path() + "/none.yaml").status()));
}

}  // namespace
}  // namespace portico
