// `make demo EXAMPLE=breeds ONCE=1`, as a test: a gate and two experts on three nodes, every held-out picture over
// gRPC, compared with the same models run by plain code.

#include <string>
#include <vector>

#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/example_demo.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

/// Accuracy, of cats, of dogs.
enum { kAll, kOfCats, kOfDogs };

TEST(BreedsDemo, EachExpertKnowsItsOwnAndTheGateTellsThemApart) {
  const CommandResult demo = RunDemo("breeds", ExampleFolder("breeds"));
  ASSERT_EQ(demo.end, "exit status 0") << demo.output;
  const std::vector<double> cats = DemoFigures(demo.output, "breed-cats"),
                            dogs = DemoFigures(demo.output, "breed-dogs"), experts = DemoFigures(demo.output, "breeds"),
                            both = DemoFigures(demo.output, "breeds-both"),
                            mean = DemoFigures(demo.output, "breeds-mean"),
                            best = DemoFigures(demo.output, "best possible, at most");
  for (const auto& figures : {cats, dogs, experts, both, mean}) ASSERT_THAT(figures, SizeIs(5)) << demo.output;
  ASSERT_THAT(best, SizeIs(3)) << demo.output;
  EXPECT_LT(cats[kOfDogs], 0.3);
  EXPECT_LT(dogs[kOfCats], 0.3);
  EXPECT_GE(experts[kOfCats], cats[kOfCats] - 0.03);
  EXPECT_GE(experts[kOfDogs], dogs[kOfDogs] - 0.03);
  EXPECT_GE(experts[kAll], mean[kAll]);
  EXPECT_LE(experts[kAll], best[kAll]);
  EXPECT_LT(best[kAll], 0.99);
  EXPECT_THAT(demo.output, HasSubstr("Every answer of the mesh is that of the same models"));
}

TEST(BreedsDemo, AnExpertInTheOthersPlaceMakesItFail) {
  TempFolder folder;
  CopyExample("breeds", folder.path());
  // The mesh serves what mesh.yaml says; plain code asks who is called so.
  auto mesh = ReadFile(folder.File("mesh.yaml"), 1 << 20);
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  const std::string right = "experts: [breed-cats, breed-dogs], k: 1",
                    wrong = "experts: [breed-dogs, breed-cats], k: 1";
  const size_t at = mesh->find(right);
  ASSERT_NE(at, std::string::npos);
  ASSERT_TRUE(WriteFileAtomically(folder.File("mesh.yaml"), mesh->replace(at, right.size(), wrong)).ok());
  const CommandResult demo = RunDemo("breeds", folder.path());
  EXPECT_EQ(demo.end, "exit status 1") << demo.output;
  EXPECT_THAT(demo.output, HasSubstr("portico_breeds_demo: breeds: number "));
}

TEST(BreedsDemo, PicturesThatDoNotFitTheirBreedsAreNamed) {
  TempFolder folder;
  CopyExample("breeds", folder.path());
  ASSERT_TRUE(WriteFileAtomically(folder.File("heldout_images.u8"), "short").ok());
  const CommandResult demo = RunDemo("breeds", folder.path());
  EXPECT_EQ(demo.end, "exit status 1") << demo.output;
  EXPECT_THAT(demo.output, HasSubstr("got 5 bytes of pixels"));
}

}  // namespace
}  // namespace portico
