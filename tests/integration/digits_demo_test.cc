// `make demo ONCE=1`, as a test: two products split, three nodes, every held-out image over gRPC and REST.

#include <regex>
#include <string>

#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/example_demo.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

TEST(DigitsDemo, TheMeshAnswersAsTheUnsplitModelsDo) {
  const CommandResult demo = RunDemo("digits", ExampleFolder("digits"));
  ASSERT_EQ(demo.end, "exit status 0") << demo.output;
  std::smatch accuracy;
  ASSERT_TRUE(
      std::regex_search(demo.output, accuracy, std::regex("digit +([01]\\.[0-9]+) +([01]\\.[0-9]+) +([01]\\.[0-9]+)")))
      << demo.output;
  EXPECT_GE(std::stod(accuracy[1]), 0.95);
  EXPECT_EQ(accuracy[1], accuracy[2]);
  EXPECT_EQ(accuracy[1], accuracy[3]);
  EXPECT_THAT(demo.output, HasSubstr("portal hub/digit-encoder"));
}

TEST(DigitsDemo, AModelThatDoesNotFitItsImagesMakesItFail) {
  TempFolder folder;
  CopyExample("digits", folder.path());
  ASSERT_TRUE(WriteFileAtomically(folder.path() + "/heldout_images.f32", "short").ok());
  const CommandResult demo = RunDemo("digits", folder.path());
  EXPECT_EQ(demo.end, "exit status 1") << demo.output;
  EXPECT_THAT(demo.output, HasSubstr("got 5 bytes of pixels for 360 labels"));
}

}  // namespace
}  // namespace portico
