#include "node/servables/model_config_poller.h"

#include <algorithm>
#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ModelConfigPollerTest : public ::testing::Test {
 protected:
  void WriteModels(const std::vector<std::string>& names) {
    std::string text = "model_config_list {\n";
    for (const std::string& name : names) absl::StrAppend(&text, "config { name: '", name, "' base_path: '/m' }\n");
    folder_.Write("models.config", text + "}\n");
  }

  const TempFolder folder_;
  std::vector<std::string> configured_;
  int calls_ = 0;
  absl::Status answer_;
  ModelConfigPoller poller_{{folder_.path() + "/models.config", absl::ZeroDuration()},
                            [this](std::vector<ModelConfig> models) {
                              ++calls_;
                              if (!answer_.ok()) return answer_;
                              configured_.clear();
                              for (const ModelConfig& model : models) configured_.push_back(model.name);
                              return absl::OkStatus();
                            }};
};

TEST_F(ModelConfigPollerTest, NewContentIsAppliedOnce) {
  WriteModels({"a"});
  EXPECT_TRUE(poller_.Poll().ok());
  EXPECT_TRUE(poller_.Poll().ok());
  EXPECT_EQ(calls_, 1);
  WriteModels({"a", "b"});
  EXPECT_TRUE(poller_.Poll().ok());
  EXPECT_THAT(configured_, ElementsAre("a", "b"));
}

TEST_F(ModelConfigPollerTest, BadFileIsToldOnceAndChangesNothing) {
  WriteModels({"a"});
  EXPECT_TRUE(poller_.Poll().ok());
  folder_.Write("models.config", "model_config_list {");
  EXPECT_THAT(std::string(poller_.Poll().message()), HasSubstr("models.config': line"));
  EXPECT_TRUE(poller_.Poll().ok());
  EXPECT_THAT(configured_, ElementsAre("a"));
  std::filesystem::remove(folder_.path() + "/models.config");
  EXPECT_FALSE(poller_.Poll().ok());
  EXPECT_TRUE(poller_.Poll().ok());
  answer_ = absl::InvalidArgumentError("no");
  WriteModels({"c"});
  EXPECT_THAT(std::string(poller_.Poll().message()), HasSubstr("models.config': no"));
  EXPECT_TRUE(poller_.Poll().ok());
  EXPECT_THAT(configured_, ElementsAre("a"));
  answer_ = absl::OkStatus();
  WriteModels({"d"});
  EXPECT_TRUE(poller_.Poll().ok());
  EXPECT_THAT(configured_, ElementsAre("d"));
}

}  // namespace
}  // namespace portico
