#include "transport/wire_row_notes.h"

#include <string>
#include <vector>

#include "base/wire.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string Numbers(const std::vector<uint64_t>& numbers) {
  std::string bytes;
  for (const uint64_t number : numbers) WireWriter(&bytes).RawVarint(number);
  return bytes;
}

TEST(WireRowNotesTest, NotesComeAsTheyWent) {
  RowNotes notes;
  notes.Add("hub/full", "mark", absl::UnavailableError("lost"), {0, 1, 2, 300, 301, 100000});
  notes.Add("other", "cheap", absl::DeadlineExceededError("late"), {7});
  const std::vector<RowNote> sent = notes.Notes();
  PeerHeader header;
  WireRowNotes wire;
  wire.Put(sent, &header);
  ASSERT_THAT(header.row_status, SizeIs(2));
  EXPECT_EQ(header.row_status[1].row, 7u);
  std::string bytes;
  EncodeHeader(header, &bytes);
  PeerHeader received;
  ASSERT_TRUE(DecodeHeader(bytes, {}, &received).ok());
  const auto got = RowNotesOf(received);
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_THAT(*got, SizeIs(2));
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ((*got)[i].portal, sent[i].portal);
    EXPECT_EQ((*got)[i].kind, sent[i].kind);
    EXPECT_EQ((*got)[i].why, sent[i].why);
    EXPECT_EQ((*got)[i].rows, sent[i].rows);
  }
}

TEST(WireRowNotesTest, WithoutRangesItIsOneRow) {
  PeerHeader header;
  header.row_status.push_back({3, 8, "full"});
  const auto got = RowNotesOf(header);
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_THAT(*got, SizeIs(1));
  EXPECT_THAT((*got)[0].rows, ElementsAre(RowRange{3, 1}));
  EXPECT_EQ((*got)[0].kind, "") << "it has failed";
  EXPECT_EQ((*got)[0].why, absl::ResourceExhaustedError("full"));
  EXPECT_THAT(*RowNotesOf(PeerHeader()), IsEmpty());
}

TEST(WireRowNotesTest, ACodeThatIsNoneIsUnknown) {
  for (const uint32_t code : {0u, 17u, ~0u}) {
    PeerHeader header;
    header.row_status.push_back({3, code, "odd"});
    EXPECT_EQ((*RowNotesOf(header))[0].why.code(), absl::StatusCode::kUnknown);
  }
}

TEST(WireRowNotesTest, WhatIsMalformedOrTooMuchIsRefused) {
  const std::string cases[] = {
      Numbers({1}),                               // Half a pair.
      "\x01\xff",                                 // Half a number.
      Numbers({1, 0}),                            // No rows.
      Numbers({uint64_t{1} << 60, 1}),            // Beyond all tensors.
      Numbers({1, ~uint64_t{0}}),                 //
      Numbers({1, uint64_t{1} << 59}),            //
      Numbers(std::vector<uint64_t>(10'000, 1)),  // 5000 ranges.
  };
  for (const std::string& ranges : cases) {
    PeerHeader header;
    header.row_status.push_back({1, 14, "lost", ranges, "full", "mark"});
    const auto got = RowNotesOf(header);
    EXPECT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument) << ranges.size();
    EXPECT_THAT(std::string(got.status().message()), HasSubstr("row status: got"));
  }
  PeerHeader many;
  for (size_t i = 0; i <= RowNotes::kMaxNotes; ++i) many.row_status.push_back({i, 14, "lost"});
  EXPECT_FALSE(RowNotesOf(many).ok());
  PeerHeader far;
  far.row_status.push_back({~uint64_t{0}, 14, "lost"});
  EXPECT_FALSE(RowNotesOf(far).ok());
}

}  // namespace
}  // namespace portico
