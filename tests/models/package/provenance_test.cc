#include "models/package/provenance.h"

#include "gtest/gtest.h"
#include "onnx/onnx_pb.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/version_model.h"

namespace portico {
namespace {

Model Load(const ModelBuilder& builder, WeightStore& store) { return *Model::FromProto(builder.Build(), "", store); }

TEST(ProvenanceTest, StandsInTheModelAndDoesNotCountForTheDigest) {
  WeightStore store;
  const Model model = Load(VersionModel(1), store);
  EXPECT_TRUE(ReadProvenance(model).empty());
  const Provenance provenance{Sha256("source"), "parts: []\n", "portico 1"};
  const auto said = WithProvenance(model, provenance);
  ASSERT_TRUE(said.ok()) << said.status();
  EXPECT_EQ(ReadProvenance(*said), provenance);
  EXPECT_EQ(*ModelDigest(*said), *ModelDigest(model));
  // Through a file, weights and all.
  const TempFolder folder;
  ASSERT_TRUE(said->Save(folder.path()).ok());
  const auto read = Model::Load(folder.path() + "/model.onnx", store);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(ReadProvenance(*read), provenance);
  EXPECT_EQ(*ModelDigest(*read), *ModelDigest(model));
}

TEST(ProvenanceTest, WhatWasSaidBeforeIsReplacedAndWhatOthersSayStays) {
  WeightStore store;
  auto proto = VersionModel(1).Build();
  auto* entry = proto->add_metadata_props();
  entry->set_key("author");
  entry->set_value("somebody");
  const Model model = *Model::FromProto(std::move(proto), "", store);
  const auto first = WithProvenance(model, {Sha256("a"), "plan", "tool"});
  const auto second = WithProvenance(*first, {Sha256("b"), "", "tool 2"});
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(ReadProvenance(*second), (Provenance{Sha256("b"), "", "tool 2"}));
  ASSERT_EQ(second->proto().metadata_props_size(), 3);
  EXPECT_EQ(second->proto().metadata_props(0).value(), "somebody");
}

TEST(ProvenanceTest, LongPlansAndBrokenDigestsDoNotPass) {
  WeightStore store;
  const Model model = Load(VersionModel(1), store);
  EXPECT_FALSE(WithProvenance(model, {Digest(), std::string(Provenance::kMaxPlanBytes + 1, 'x'), ""}).ok());
  auto proto = VersionModel(1).Build();
  auto* entry = proto->add_metadata_props();
  entry->set_key("portico.source_digest");
  entry->set_value("no digest");
  EXPECT_TRUE(ReadProvenance(*Model::FromProto(std::move(proto), "", store)).empty());
}

}  // namespace
}  // namespace portico
