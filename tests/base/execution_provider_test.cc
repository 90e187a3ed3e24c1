#include "base/execution_provider.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

std::string Error(const std::vector<ExecutionProvider>& providers) {
  return std::string(CheckProviderList(providers).message());
}

TEST(ExecutionProviderTest, ListsThatMakeSense) {
  EXPECT_EQ(Error({}), "");
  EXPECT_EQ(Error({{"cpu", {}}}), "");
  EXPECT_EQ(Error({{"tensorrt", {}}, {"cuda", {{"device_id", "1"}}}, {"cpu", {}}}), "");
  EXPECT_EQ(Error({{"cuda", {}}}), "");
}

TEST(ExecutionProviderTest, NamesThatAreNoneHaveTheNearestAsARemedy) {
  EXPECT_EQ(Error({{"cdua", {}}}),
            "execution provider 'cdua': got a name that is none, want one of tensorrt, cuda, openvino, dnnl, xnnpack, "
            "webgpu, qnn, cpu; 'cuda' is, if that was meant");
  EXPECT_THAT(Error({{"tensor-rt", {}}}), HasSubstr("'tensorrt' is, if that was meant"));
  EXPECT_THAT(Error({{"quantum", {}}}), ::testing::Not(HasSubstr("if that was meant")));
}

TEST(ExecutionProviderTest, ListsThatMakeNoSense) {
  EXPECT_THAT(Error({{"cuda", {}}, {"cuda", {}}}), HasSubstr("'cuda': got it twice"));
  EXPECT_THAT(Error({{"cpu", {}}, {"cuda", {}}}), HasSubstr("'cpu': got others behind it"));
  EXPECT_THAT(Error({{"cpu", {{"a", "b"}}}}), HasSubstr("'cpu': got options"));
  EXPECT_THAT(Error({{"cuda", {{"a", std::string(5000, 'x')}}}}), HasSubstr("more than 4096 bytes"));
}

}  // namespace
}  // namespace portico
