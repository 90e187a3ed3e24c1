// One call of a request that its caller takes back, while the request goes on.

#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/router/one_target.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

class TakeBackTest : public OneTarget {
 protected:
  Ref<CancelHook> Begin() {
    const std::vector<Tensor> tensors = {Tensor::Of<int64_t>({1}, {42})};
    return router_->Call(target_, context_, tensors, [this](Result r) {
      ASSERT_FALSE(result_.has_value());
      result_ = std::move(r);
    });
  }

  const Ref<const RequestContext> context_ = MakeRef<RequestContext>();
  std::optional<Result> result_;
};

TEST_F(TakeBackTest, EndsThatCallAndNoOtherOfTheRequest) {
  Make({"x://a"});
  const auto other = Call();
  const Ref<CancelHook> call = Begin();
  ASSERT_TRUE(call);
  call->OnCancel();
  EXPECT_THAT(transport_.cancelled, ElementsAre(1));
  ASSERT_TRUE(result_.has_value());
  EXPECT_EQ(result_->status().code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(other->has_value());
  EXPECT_FALSE(context_->cancelled);
  call->OnCancel();
}

TEST_F(TakeBackTest, WhatWasTakenBackIsNotTriedElsewhere) {
  Make({"x://a", "x://b"});
  transport_.cancel_completes = false;
  const Ref<CancelHook> call = Begin();
  call->OnCancel();
  Fail(0, absl::UnavailableError("lost"));
  EXPECT_EQ(sent(), 1u);
  ASSERT_TRUE(result_.has_value());
  EXPECT_FALSE(result_->ok());
}

TEST_F(TakeBackTest, DoesNothingOnceTheAnswerIsThere) {
  Make({"x://a"});
  const Ref<CancelHook> call = Begin();
  Answer(0);
  ASSERT_TRUE(result_.has_value());
  EXPECT_TRUE(result_->ok());
  call->OnCancel();
  EXPECT_TRUE(transport_.cancelled.empty());
}

}  // namespace
}  // namespace portico
