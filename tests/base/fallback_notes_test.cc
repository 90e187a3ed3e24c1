#include "base/fallback_notes.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

TEST(FallbackNotesTest, EachNoteIsKeptOnce) {
  FallbackNotes notes;
  EXPECT_TRUE(notes.empty());
  EXPECT_EQ(notes.Joined(), "");
  notes.Add("hub/enc", "defaults");
  notes.Add("hub/enc", "defaults");
  notes.AddReceived("ranker=last_known");
  EXPECT_FALSE(notes.empty());
  EXPECT_THAT(notes.Notes(), ElementsAre("hub/enc=defaults", "ranker=last_known"));
  EXPECT_EQ(notes.Joined(), "hub/enc=defaults, ranker=last_known");
}

TEST(FallbackNotesTest, WhatCouldNotStandInAHeaderIsDropped) {
  FallbackNotes notes;
  for (const std::string& note :
       {std::string(), std::string("a\r\nSet-Cookie:x"), std::string("a b"), std::string("a,b"), std::string(300, 'a'),
        std::string("\xc3\xa4=defaults"), std::string(1, '\0')}) {
    notes.AddReceived(note);
  }
  EXPECT_TRUE(notes.empty());
}

TEST(FallbackNotesTest, OnlySoManyAreKept) {
  FallbackNotes notes;
  for (int i = 0; i < 100; ++i) notes.Add(absl::StrCat("m", i), "defaults");
  EXPECT_THAT(notes.Notes(), SizeIs(FallbackNotes::kMaxNotes));
}

}  // namespace
}  // namespace portico
