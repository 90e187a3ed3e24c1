#include "node/served_list.h"

#include <atomic>

#include "gmock/gmock.h"
#include "tests/node/servables/servables_fixture.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ServedListTest : public ServablesFixture {
 protected:
  ServedListTest() {
    options_.on_change = [this] { ++changes_; };
  }
  PeerState State() const {
    PeerState state;
    SayServed(*servables_, &state);
    return state;
  }
  /// "m#digest" or, without one, "m#".
  std::vector<std::string> List() const {
    std::vector<std::string> list;
    for (const PeerState::Served& served : State().served) {
      list.push_back(absl::StrCat(served.name, ":", served.version, served.digest.empty() ? "" : "#"));
    }
    return list;
  }

  std::atomic<int> changes_{0};
};

TEST_F(ServedListTest, ModelsOnDemandAreThereBeforeTheyAreLoadedAndAfter) {
  Publish("loaded", 1);
  Publish("asked", 2);
  ModelConfig asked = Model("asked");
  asked.on_demand = true;
  ASSERT_TRUE(Configure({Model("loaded"), asked}).ok());
  EXPECT_THAT(List(), ElementsAre("loaded:1#", "asked:0"));
  ASSERT_TRUE(Acquire({.name = "asked"}).ok());
  EXPECT_THAT(List(), ElementsAre("asked:2#", "loaded:1#", "asked:0"));
  ASSERT_TRUE(servables_->Unload("asked").ok());
  EXPECT_THAT(List(), ElementsAre("loaded:1#"));
}

TEST_F(ServedListTest, PeersAreToldWhenAModelOnDemandComesOrGoes) {
  Publish("m", 1);
  ModelConfig model = Model("m");
  model.on_demand = true;
  ASSERT_TRUE(Configure({model}).ok());
  EXPECT_EQ(changes_, 1);
  ASSERT_TRUE(servables_->Unload("m").ok());
  EXPECT_EQ(changes_, 2);
  ASSERT_TRUE(Configure({}).ok());
  EXPECT_EQ(changes_, 3);
  EXPECT_THAT(List(), IsEmpty());
  EXPECT_TRUE(State().lists_all) << "there is nothing";
}

TEST_F(ServedListTest, AListThatIsTooLongSaysNothing) {
  Publish("m", 1);
  std::vector<ModelConfig> models;
  for (int i = 0; i < 1000; ++i) {
    ModelConfig model = Model("m");
    model.name = absl::StrCat(std::string(1000, 'n'), i);
    model.on_demand = true;
    models.push_back(model);
  }
  ASSERT_TRUE(Configure(models).ok());
  EXPECT_THAT(List(), IsEmpty());
  EXPECT_FALSE(State().lists_all);
}

}  // namespace
}  // namespace portico
