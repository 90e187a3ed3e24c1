#include "node/servables/model_server_config.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ModelServerConfigTest : public ::testing::Test {
 protected:
  static std::string ErrorOf(const std::string& text) {
    const auto models = ParseModelConfigFile("models.config", text);
    EXPECT_EQ(models.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(models.status().message());
  }
};

TEST_F(ModelServerConfigTest, FileOfTensorFlowServingIsRead) {
  const auto models = ParseModelConfigFile("models.config", R"(
    # A comment.
    model_config_list {
      config {
        name: 'first' base_path: '/models/first' model_platform: 'tensorflow'
        model_version_policy { specific { versions: 42 versions: 43 } }
        version_labels { key: 'stable' value: 42 }
        version_labels { key: 'canary' value: 43 }
      }
      config: { name: "second", base_path: "/models/second", model_version_policy: { latest { num_versions: 3 } } }
      config { name: 'third' base_path: '/models/third' model_version_policy: { all {} } }
      config { name: 'fourth' base_path: '/models/fourth' model_type: TENSORFLOW logging_config {
        sampling_config { sampling_rate: 0.5 } } }
    })");
  ASSERT_TRUE(models.ok()) << models.status();
  ASSERT_EQ(models->size(), 4u);
  EXPECT_EQ((*models)[0].name, "first");
  EXPECT_EQ((*models)[0].base_path, "/models/first");
  EXPECT_EQ((*models)[0].versions.kind, VersionPolicy::Kind::kSpecific);
  EXPECT_THAT((*models)[0].versions.versions, ElementsAre(42, 43));
  EXPECT_EQ((*models)[0].labels.at("canary"), 43);
  EXPECT_EQ((*models)[1].versions.kind, VersionPolicy::Kind::kLatest);
  EXPECT_EQ((*models)[1].versions.num_versions, 3);
  EXPECT_EQ((*models)[2].versions.kind, VersionPolicy::Kind::kAll);
  EXPECT_EQ((*models)[3].versions.num_versions, 1);
  EXPECT_EQ((*models)[3].request_log_sample, 0.5);
  EXPECT_EQ((*models)[2].request_log_sample, std::nullopt);
}

TEST_F(ModelServerConfigTest, WhatIsWrongIsNamedWithItsPlace) {
  EXPECT_THAT(ErrorOf("model_config_list {\n  config { nam: 'x' }\n}"),
              HasSubstr("file 'models.config': line 2, column"));
  EXPECT_THAT(ErrorOf("model_config_list {"), HasSubstr("want a text protobuf of type tensorflow.serving"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("ModelConfigList"));
  EXPECT_THAT(ErrorOf("model_config_list { config { name: 'x' model_platform: 'caffe' } }"),
              HasSubstr("file 'models.config': model 'x': model_platform: got 'caffe'"));
  EXPECT_THAT(ErrorOf("model_config_list { config { name: 'x' model_version_policy { specific {} } } }"),
              HasSubstr("got no versions"));
  EXPECT_THAT(ErrorOf("model_config_list { config { name: 'x' model_version_policy { latest { num_versions: "
                      "4000000000 } } } }"),
              HasSubstr("num_versions: got 4000000000"));
  EXPECT_THAT(
      ErrorOf("model_config_list { config { name: 'x' logging_config { sampling_config { sampling_rate: 2 } } } }"),
      HasSubstr("sampling_rate: got 2"));
  EXPECT_THAT(ErrorOf(std::string(100'000, '{')), HasSubstr("line 1"));
}

}  // namespace
}  // namespace portico
