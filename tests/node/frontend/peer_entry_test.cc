// Calls of the peer protocol that come from outside of a mesh.

#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/node.h"
#include "router/revision.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"
#include "transport/transport.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

/// Serves `m`: answers with what it got, and remembers of which revision and product calls were.
class RevisionRecorder final : public CallHandler {
 public:
  RevisionRecorder(Transport& transport, const std::string& endpoint) {
    auto listener = transport.Listen(endpoint, *this, {});
    PORTICO_CHECK(listener.ok());
    listener_ = *std::move(listener);
  }
  void OnCall(PeerMessage call, PeerReply reply) override {
    {
      const MutexLock lock(&mutex_);
      revisions_.push_back(call.header.revision);
      products_.emplace_back(call.header.product);
    }
    PeerHeader header;
    header.tensors.resize(1);
    header.tensors[0].name = "y";
    reply(header, call.tensors);
  }
  std::vector<uint64_t> revisions() const {
    const MutexLock lock(&mutex_);
    return revisions_;
  }
  std::vector<std::string> products() const {
    const MutexLock lock(&mutex_);
    return products_;
  }

 private:
  mutable Mutex mutex_;
  std::vector<std::string> products_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint64_t> revisions_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Listener> listener_;
};

/// A node `front` whose model `head` calls `m`, and who serves that.
class PeerEntryTest : public ::testing::Test {
 protected:
  PeerEntryTest() {
    ModelBuilder head;
    head.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
    head.Portal("Remote", "m", {"x"}, {"y"}, {DType::kFloat}, {"N"});
    head.WriteTo(folder_.File("head/1/model.onnx"));
    Revision revision;
    revision.number = 7;
    revision.models = {{"m", folder_.path() + "/m"}, {"head", folder_.path() + "/head"}};
    revision.nodes.push_back(
        {.name = "back", .serve = {"m"}, .peer = absl::StrCat("unix://", folder_.path(), "/back")});
    revision.nodes.push_back(
        {.name = "front", .serve = {"head"}, .peer = absl::StrCat("unix://", folder_.path(), "/front")});
    back_.emplace(*transports_, revision.nodes[0].peer);
    auto options = Node::OptionsFor(revision, "front", 0);
    PORTICO_CHECK(options.ok());
    options->revisions.pointer = folder_.Write("7.yaml", FormatRevision(revision));
    options->revisions.node = "front";
    auto front = Node::Start(*std::move(options));
    PORTICO_CHECK(front.ok());
    front_ = *std::move(front);
    auto channel = transports_->Connect(front_->peer_endpoint(), {});
    PORTICO_CHECK(channel.ok());
    channel_ = *std::move(channel);
  }

  absl::Status Call(PeerHeader header) {
    header.servable = "head";
    header.signature = "serving_default";
    header.tensors.resize(1);
    header.tensors[0].name = "x";
    const Tensor x = Tensor::Of<float>({2}, {1, 2});
    std::promise<absl::Status> answered;
    channel_->Call(header, {&x, 1}, Deadline::In(absl::Seconds(30), Clock::Real()),
                   [&](const absl::StatusOr<PeerMessage>& answer) {
                     answered.set_value(!answer.ok() ? answer.status()
                                                     : absl::Status(static_cast<absl::StatusCode>(answer->header.code),
                                                                    answer->header.message));
                   });
    return answered.get_future().get();
  }

  const TempFolder folder_;
  const std::unique_ptr<Transport> transports_ = NewTransports({}, Clock::Real());
  std::optional<RevisionRecorder> back_;
  std::unique_ptr<Node> front_;
  std::unique_ptr<Channel> channel_;
};

/// Else each hop would answer by what is current there, and an answer could be of several versions.
TEST_F(PeerEntryTest, ACallOfNoRevisionIsStampedWithTheCurrentOne) {
  for (const uint64_t number : {0, 7}) {
    PeerHeader header;
    header.revision = number;
    EXPECT_EQ(Call(header), absl::OkStatus());
  }
  EXPECT_THAT(back_->revisions(), ElementsAre(7, 7));
}

TEST_F(PeerEntryTest, ACallIsOfTheProductItSaysOrOfTheModelItAsksFor) {
  const std::string longest(RequestContext::kMaxProduct, 'a'), longer = longest + "a";
  for (const std::string& product : {std::string(), std::string("digit"), longest, longer}) {
    PeerHeader header;
    header.product = product;
    EXPECT_EQ(Call(header), absl::OkStatus());
  }
  EXPECT_THAT(back_->products(), ElementsAre("head", "digit", longest, "head"));
}

}  // namespace
}  // namespace portico
