#include "base/status_macros.h"

#include "gtest/gtest.h"

namespace portico {
namespace {

absl::StatusOr<int> Half(int number) {
  if (number % 2 != 0) return absl::InvalidArgumentError("odd");
  return number / 2;
}

absl::StatusOr<int> Quarter(int number) {
  ASSIGN_OR_RETURN(const int half, Half(number));
  ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

TEST(StatusMacrosTest, AssignOrReturnStopsAtTheFirstError) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).status(), absl::InvalidArgumentError("odd"));
}

TEST(StatusMacrosTest, ContextKeepsCodeAndPayloads) {
  absl::Status status = absl::NotFoundError("gone");
  status.SetPayload("url", absl::Cord("value"));
  const absl::Status with = WithContext("model 'x'", status);
  EXPECT_EQ(with.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(with.message(), "model 'x': gone");
  EXPECT_EQ(with.GetPayload("url"), absl::Cord("value"));
  EXPECT_TRUE(WithContext("x", absl::OkStatus()).ok());
}

TEST(StatusMacrosTest, InnerHopsFaultIsInternalForTheClient) {
  for (const absl::StatusCode kept :
       {absl::StatusCode::kUnavailable, absl::StatusCode::kDeadlineExceeded, absl::StatusCode::kResourceExhausted,
        absl::StatusCode::kCancelled, absl::StatusCode::kOutOfRange}) {
    EXPECT_EQ(FromInnerHop("hop", absl::Status(kept, "m")).code(), kept);
  }
  const absl::Status mapped = FromInnerHop("portal to 'hub'", absl::NotFoundError("m"));
  EXPECT_EQ(mapped.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(mapped.message(), "portal to 'hub': NOT_FOUND: m");
  EXPECT_EQ(FromInnerHop("outer", mapped).message(), "outer: portal to 'hub': NOT_FOUND: m");
}

}  // namespace
}  // namespace portico
