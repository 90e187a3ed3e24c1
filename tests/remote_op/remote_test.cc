#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "remote_op/portal.h"
#include "router/static_resolver.h"
#include "tests/remote_op/remote_spec.h"
#include "tests/router/fake_transport.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Outputs = absl::StatusOr<std::vector<Tensor>>;

PortalSpec RemoteSpec(bool with_digest) {
  PortalSpec spec = RemoteSpecOf({"left", "right"}, {SpecOf("codes", DType::kFloat, {{-1, "N"}, {4, ""}}),
                                                     SpecOf("ids", DType::kInt64, {{-1, "N"}})});
  if (!with_digest) spec.digest = Digest();
  return spec;
}

class RemoteTest : public ::testing::Test {
 protected:
  RemoteTest() : resolver_(std::map<std::string, std::vector<std::string>>{{"hub/enc", {"x://a"}}}) {
    router_ = *Router::Create({}, transport_, resolver_, clock_, MetricRegistry::Null());
  }
  void Make(const PortalSpec& spec) {
    auto portal = NewPortal(spec, *router_);
    ASSERT_TRUE(portal.ok()) << portal.status();
    portal_ = *std::move(portal);
  }
  /// Sends two inputs, answers with `names` (none: unnamed) and `tensors`.
  Outputs Run(std::vector<std::string> names, std::vector<Tensor> tensors, PeerHeader reply = {}) {
    std::optional<Outputs> outputs;
    context_ = MakeRef<RequestContext>();
    portal_->Run(Ref<const RequestContext>(context_.get()), {Tensor::Of<float>({1}, {1}), Tensor::Of<float>({1}, {2})},
                 [&](Outputs result) { outputs = std::move(result); });
    EXPECT_EQ(transport_.calls.size(), 1u);
    reply.tensors.resize(tensors.size());
    for (size_t i = 0; i < names.size(); ++i) reply.tensors[i].name = names[i];
    transport_.calls.back().Reply(reply, std::move(tensors));
    EXPECT_TRUE(outputs.has_value());
    return *std::move(outputs);
  }
  static Tensor Codes(int64_t rows) { return Tensor::Allocate(DType::kFloat, {rows, 4}); }
  static Tensor Ids(int64_t rows) { return Tensor::Allocate(DType::kInt64, {rows}); }

  FakeClock clock_;
  FakeTransport transport_;
  const StaticResolver resolver_;
  std::unique_ptr<Router> router_;
  std::unique_ptr<Portal> portal_;
  /// Of the last Run().
  Ref<RequestContext> context_;
};

TEST_F(RemoteTest, UnknownOpIsRefusedWithTheKnownOnes) {
  PortalSpec spec = RemoteSpec(true);
  spec.op_type = "Teleport";
  const auto portal = NewPortal(spec, *router_);
  EXPECT_EQ(portal.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(portal.status().message(), AllOf(HasSubstr("portal_0"), HasSubstr("Teleport"), HasSubstr("Remote")));
}

TEST_F(RemoteTest, PortalsThatCannotWorkAreRefused) {
  PortalSpec no_target = RemoteSpec(true);
  no_target.target.clear();
  EXPECT_EQ(NewPortal(no_target, *router_).status().code(), absl::StatusCode::kInvalidArgument);
  PortalSpec no_outputs = RemoteSpec(true);
  no_outputs.outputs.clear();
  EXPECT_EQ(NewPortal(no_outputs, *router_).status().code(), absl::StatusCode::kInvalidArgument);
  PortalSpec same_names = RemoteSpec(false);
  same_names.input_names = {"left", "left"};
  EXPECT_EQ(NewPortal(same_names, *router_).status().code(), absl::StatusCode::kInvalidArgument);
  same_names.digest = Sha256("enc");
  EXPECT_TRUE(NewPortal(same_names, *router_).ok()) << "by position names do not count";
}

TEST_F(RemoteTest, MakingAPortalContactsNobody) {
  Make(RemoteSpec(true));
  EXPECT_THAT(transport_.connects, IsEmpty());
  EXPECT_THAT(portal_->Target(), HasSubstr("hub/enc"));
}

TEST_F(RemoteTest, HealthIsThatOfTheTarget) {
  Make(RemoteSpec(true));
  EXPECT_EQ(portal_->Health().code(), absl::StatusCode::kUnavailable);
  transport_.Connected("x://a");
  EXPECT_TRUE(portal_->Health().ok());
}

TEST_F(RemoteTest, WithADigestTensorsGoByPosition) {
  Make(RemoteSpec(true));
  const Tensor codes = Codes(3);
  const Tensor ids = Ids(3);
  const Outputs outputs = Run({}, {codes, ids});
  EXPECT_EQ(transport_.calls[0].digest, Sha256("enc"));
  EXPECT_THAT(transport_.calls[0].names, IsEmpty());
  EXPECT_EQ(transport_.calls[0].tensors[1].data<float>()[0], 2);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[0].bytes().data(), codes.bytes().data());
  EXPECT_EQ((*outputs)[1].bytes().data(), ids.bytes().data());
}

TEST_F(RemoteTest, WithoutADigestTensorsGoByName) {
  Make(RemoteSpec(false));
  const Tensor codes = Codes(3);
  const Tensor ids = Ids(3);
  const Outputs outputs = Run({"ids", "codes"}, {ids, codes});
  EXPECT_THAT(transport_.calls[0].names, ElementsAre("left", "right"));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[0].bytes().data(), codes.bytes().data());
  EXPECT_EQ((*outputs)[1].bytes().data(), ids.bytes().data());
}

TEST_F(RemoteTest, MissingNameIsRefused) {
  Make(RemoteSpec(false));
  const Outputs outputs = Run({"codes", "other"}, {Codes(3), Ids(3)});
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(outputs.status().message(), AllOf(HasSubstr("hub/enc"), HasSubstr("'ids'"), HasSubstr("'other'")));
}

TEST_F(RemoteTest, WrongNumberOfOutputsIsRefused) {
  Make(RemoteSpec(true));
  const Outputs outputs = Run({}, {Codes(3)});
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(outputs.status().message(),
              AllOf(HasSubstr("hub/enc"), HasSubstr("got 1 outputs, want 2"), HasSubstr("'codes', 'ids'")));
}

TEST_F(RemoteTest, SurplusOutputIsRefused) {
  Make(RemoteSpec(true));
  EXPECT_EQ(Run({}, {Codes(3), Ids(3), Ids(3)}).status().code(), absl::StatusCode::kInternal);
}

TEST_F(RemoteTest, WithoutADigestSurplusOutputsAreDropped) {
  Make(RemoteSpec(false));
  const Outputs outputs = Run({"ids", "more", "codes"}, {Ids(3), Ids(3), Codes(3)});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  ASSERT_EQ(outputs->size(), 2u);
  EXPECT_EQ((*outputs)[1].dtype(), Ids(3).dtype());
}

TEST_F(RemoteTest, WrongDtypeIsRefused) {
  Make(RemoteSpec(true));
  const Outputs outputs = Run({}, {Tensor::Allocate(DType::kDouble, {3, 4}), Ids(3)});
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(outputs.status().message(), AllOf(HasSubstr("portal to 'hub/enc'"), HasSubstr("'codes'"),
                                                HasSubstr("float64"), HasSubstr("float32")));
}

TEST_F(RemoteTest, WrongRankIsRefused) {
  Make(RemoteSpec(true));
  EXPECT_EQ(Run({}, {Tensor::Allocate(DType::kFloat, {12}), Ids(3)}).status().code(), absl::StatusCode::kInternal);
}

TEST_F(RemoteTest, WrongFixedExtentIsRefused) {
  Make(RemoteSpec(true));
  const Outputs outputs = Run({}, {Tensor::Allocate(DType::kFloat, {3, 5}), Ids(3)});
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(outputs.status().message(), AllOf(HasSubstr("[3,5]"), HasSubstr("[N,4]")));
}

TEST_F(RemoteTest, OneSymbolWithTwoExtentsIsRefused) {
  Make(RemoteSpec(true));
  const Outputs outputs = Run({}, {Codes(3), Ids(2)});
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(outputs.status().message(),
              AllOf(HasSubstr("'ids'"), HasSubstr("[2]"), HasSubstr("[3,4]"), HasSubstr("N")));
}

TEST_F(RemoteTest, FailedRowIsNotTakenForAnAnswer) {
  Make(RemoteSpec(true));
  PeerHeader reply;
  reply.row_status.push_back({.row = 1, .code = 13, .message = "row is broken"});
  const Outputs outputs = Run({}, {Codes(3), Ids(3)}, reply);
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(outputs.status().message(), HasSubstr("row is broken"));
}

TEST_F(RemoteTest, WhatIsSaidOfSingleRowsIsPassedOn) {
  Make(RemoteSpec(true));
  PeerHeader reply;
  reply.row_status.push_back({1, 14, "deep is away", "\x01\x02", "deep", "mark"});
  const Outputs outputs = Run({}, {Codes(3), Ids(3)}, reply);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(context_->row_notes.Joined(), "1-2 deep=mark UNAVAILABLE: deep is away");
}

TEST_F(RemoteTest, RowStatusThatCannotBeReadIsRefused) {
  Make(RemoteSpec(true));
  PeerHeader reply;
  reply.row_status.push_back({1, 14, "deep is away", "\xff", "deep", "mark"});
  const Outputs outputs = Run({}, {Codes(3), Ids(3)}, reply);
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(outputs.status().message(), AllOf(HasSubstr("portal to 'hub/enc'"), HasSubstr("row status")));
  EXPECT_TRUE(context_->row_notes.empty());
}

TEST_F(RemoteTest, ErrorsOfTheTargetPassThrough) {
  Make(RemoteSpec(true));
  PeerHeader reply;
  reply.code = static_cast<uint32_t>(absl::StatusCode::kNotFound);
  reply.message = "servable 'hub/enc': got no such thing";
  const Outputs outputs = Run({}, {}, reply);
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(outputs.status().message(), AllOf(HasSubstr("portal to 'hub/enc' at x://a"), HasSubstr("no such thing")));
}

TEST_F(RemoteTest, SmallViewOfALargeMessageIsCopiedOutOfIt) {
  Make(RemoteSpec(true));
  const Tensor message = Tensor::Allocate(DType::kFloat, {1 << 20, 4});
  const Tensor view = message.Slice(5, 3);
  const Outputs outputs = Run({}, {view, Ids(3)});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_NE((*outputs)[0].origin().get(), message.origin().get());
  EXPECT_EQ((*outputs)[0].bytes(), view.bytes());
}

}  // namespace
}  // namespace portico
