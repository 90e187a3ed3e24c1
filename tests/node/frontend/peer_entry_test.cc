// Calls of the peer protocol that come from outside of a mesh.

#include <future>
#include <memory>
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

/// Serves `m`: answers with what it got, and remembers of which revision calls were.
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

 private:
  mutable Mutex mutex_;
  std::vector<uint64_t> revisions_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Listener> listener_;
};

/// Else each hop would answer by what is current there, and an answer could be of several versions.
TEST(PeerEntryTest, ACallOfNoRevisionIsStampedWithTheCurrentOne) {
  const TempFolder folder;
  ModelBuilder head;
  head.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
  head.Portal("Remote", "m", {"x"}, {"y"}, {DType::kFloat}, {"N"});
  head.WriteTo(folder.File("head/1/model.onnx"));
  const auto transports = NewTransports({}, Clock::Real());
  Revision revision;
  revision.number = 7;
  revision.models = {{"m", folder.path() + "/m"}, {"head", folder.path() + "/head"}};
  revision.nodes.push_back({.name = "back", .serve = {"m"}, .peer = absl::StrCat("unix://", folder.path(), "/back")});
  revision.nodes.push_back(
      {.name = "front", .serve = {"head"}, .peer = absl::StrCat("unix://", folder.path(), "/front")});
  RevisionRecorder back(*transports, revision.nodes[0].peer);
  auto options = Node::OptionsFor(revision, "front", 0);
  ASSERT_TRUE(options.ok()) << options.status();
  options->revisions.pointer = folder.Write("7.yaml", FormatRevision(revision));
  options->revisions.node = "front";
  const auto front = Node::Start(*std::move(options));
  ASSERT_TRUE(front.ok()) << front.status();

  auto channel = transports->Connect((*front)->peer_endpoint(), {});
  ASSERT_TRUE(channel.ok()) << channel.status();
  for (const uint64_t number : {0, 7}) {
    PeerHeader header;
    header.servable = "head";
    header.signature = "serving_default";
    header.tensors.resize(1);
    header.tensors[0].name = "x";
    header.revision = number;
    const Tensor x = Tensor::Of<float>({2}, {1, 2});
    std::promise<absl::Status> answered;
    (*channel)->Call(header, {&x, 1}, Deadline::In(absl::Seconds(30), Clock::Real()),
                     [&](const absl::StatusOr<PeerMessage>& answer) {
                       answered.set_value(!answer.ok()
                                              ? answer.status()
                                              : absl::Status(static_cast<absl::StatusCode>(answer->header.code),
                                                             answer->header.message));
                     });
    EXPECT_EQ(answered.get_future().get(), absl::OkStatus());
  }
  EXPECT_THAT(back.revisions(), ElementsAre(7, 7));
}

}  // namespace
}  // namespace portico
