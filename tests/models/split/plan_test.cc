#include "models/split/plan.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PlanTest : public ::testing::Test {
 protected:
  absl::StatusOr<SplitPlan> Read(absl::string_view text) { return ReadSplitPlan(folder_.Write("plan.yaml", text)); }
  std::string Error(absl::string_view text) { return std::string(Read(text).status().message()); }

  TempFolder folder_;
};

TEST_F(PlanTest, ReadsProductPartsAndNestedParts) {
  const auto plan = Read(
      "product: digit\n"
      "parts:\n"
      "  - name: hub/digit-encoder\n"
      "    outputs: [features]\n"
      "    inputs: [image]\n"
      "    parts:\n"
      "      - name: hub/stem\n"
      "        outputs: stem_out\n");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->product, "digit");
  ASSERT_EQ(plan->parts.size(), 1u);
  EXPECT_EQ(plan->parts[0].name, "hub/digit-encoder");
  EXPECT_EQ(plan->parts[0].line, 3);
  EXPECT_THAT(plan->parts[0].outputs, ElementsAre("features"));
  EXPECT_THAT(plan->parts[0].inputs, ElementsAre("image"));
  ASSERT_EQ(plan->parts[0].parts.size(), 1u);
  EXPECT_THAT(plan->parts[0].parts[0].outputs, ElementsAre("stem_out"));
}

TEST_F(PlanTest, RefusesUnknownKeyWithFileAndLine) {
  const std::string error = Error("parts:\n  - name: a\n    outputs: [y]\n    outptus: [z]\n");
  EXPECT_THAT(error, HasSubstr("plan.yaml:4: "));
  EXPECT_THAT(error, HasSubstr("unknown key 'outptus'"));
  EXPECT_THAT(error, HasSubstr("name, outputs, inputs, parts"));
}

TEST_F(PlanTest, RefusesPartWithoutOutputs) {
  EXPECT_THAT(Error("parts:\n  - name: a\n"), HasSubstr("plan.yaml:2: part 'a': got no 'outputs'"));
  EXPECT_THAT(Error("parts:\n  - name: a\n    outputs: []\n"), HasSubstr("plan.yaml:2: part 'a': got no outputs"));
}

TEST_F(PlanTest, RefusesNamesThatLeaveTheFolder) {
  for (const char* name : {"../a", "/a", "a//b", "a/", "a/./b", "a/..", "a b", "hub/3", "''"}) {
    const auto plan = Read(absl::StrCat("parts:\n  - name: ", name, "\n    outputs: [y]\n"));
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr("plan.yaml:2: ")) << name;
  }
}

TEST_F(PlanTest, RefusesANameUsedTwice) {
  EXPECT_THAT(Error("parts:\n  - {name: a, outputs: [x]}\n  - {name: a, outputs: [y]}\n"),
              HasSubstr("plan.yaml:3: part 'a': got this name twice"));
  EXPECT_THAT(Error("product: a\nparts:\n  - {name: b, outputs: [x], parts: [{name: a, outputs: [w]}]}\n"),
              HasSubstr("part 'a': got this name twice"));
}

TEST_F(PlanTest, RefusesWhatIsNoPlan) {
  EXPECT_THAT(Error("parts: [\n"), HasSubstr("got no YAML"));
  EXPECT_THAT(Error("- a\n"), HasSubstr("got no mapping"));
  EXPECT_THAT(Error("product: a\n"), HasSubstr("got no 'parts'"));
  EXPECT_THAT(Error("parts: []\n"), HasSubstr("want at least one part"));
  EXPECT_THAT(Error("parts: [{name: a, outputs: [[x]]}]\n"), HasSubstr("want the name of a tensor"));
  EXPECT_THAT(Error("parts: [{name: a, name: b, outputs: [x]}]\n"), HasSubstr("got key 'name' twice"));
}

TEST_F(PlanTest, RefusesEndlessNesting) {
  std::string text = "parts: ";
  for (int i = 0; i < 40; ++i) text += absl::StrCat("[{name: p", i, ", outputs: [y], parts: ");
  text += "[{name: last, outputs: [y]}]";
  for (int i = 0; i < 40; ++i) text += "}]";
  EXPECT_THAT(Error(text), HasSubstr("nested deeper"));
}

TEST_F(PlanTest, SaysThatThePlanIsMissing) {
  EXPECT_EQ(ReadSplitPlan(folder_.path() + "/none.yaml").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace portico
