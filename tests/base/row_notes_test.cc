#include "base/row_notes.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;
using ::testing::StartsWith;

TEST(RowNotesTest, RowsAreSaidAsRanges) {
  RowNotes notes;
  EXPECT_TRUE(notes.empty());
  EXPECT_EQ(notes.Joined(), "");
  notes.Add("hub/full", "mark", absl::UnavailableError("lost"), {0, 1, 2, 3, 7});
  EXPECT_FALSE(notes.empty());
  const std::vector<RowNote> all = notes.Notes();
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_EQ(all[0].portal, "hub/full");
  EXPECT_EQ(all[0].kind, "mark");
  EXPECT_EQ(all[0].why, absl::UnavailableError("lost"));
  EXPECT_THAT(all[0].rows, ElementsAre(RowRange{0, 4}, RowRange{7, 1}));
  notes.Add("other", "cheap", absl::InternalError("broken; as\never"), {9});
  EXPECT_EQ(notes.Joined(), "0-3,7 hub/full=mark UNAVAILABLE: lost; 9 other=cheap INTERNAL: broken, as?ever");
}

TEST(RowNotesTest, NoRowsAreNoNote) {
  RowNotes notes;
  notes.Add("hub/full", "mark", absl::UnavailableError("lost"), {});
  notes.Add(RowNote{"hub/full", "mark", absl::UnavailableError("lost"), {}});
  EXPECT_TRUE(notes.empty());
}

TEST(RowNotesTest, NotesOfOnePortalAndKindAreOne) {
  RowNotes notes;
  notes.Add("full", "mark", absl::UnavailableError("lost"), {2, 3, 9});
  notes.Add("full", "mark", absl::UnavailableError("lost again"), {0, 4, 8, 12});
  notes.Add("full", "mark", absl::InternalError("lost"), {1});
  const std::vector<RowNote> all = notes.Notes();
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_THAT(all[0].rows, ElementsAre(RowRange{0, 1}, RowRange{2, 3}, RowRange{8, 2}, RowRange{12, 1}));
  EXPECT_EQ(all[0].why.message(), "lost");
}

TEST(RowNotesTest, BeyondTheLimitNotesAreJoinedAndNoRowIsLeftOut) {
  RowNotes notes;
  const int64_t many = 3 * static_cast<int64_t>(RowNotes::kMaxNotes);
  for (int64_t row = 0; row < many; ++row) {
    notes.Add(absl::StrCat("expert", row), "cheap", absl::UnavailableError("lost"), {2 * row});
  }
  notes.Add("last", "mark", absl::UnavailableError("lost"), {2 * many});
  const std::vector<RowNote> all = notes.Notes();
  ASSERT_THAT(all, SizeIs(RowNotes::kMaxNotes));
  int64_t rows = 0;
  bool marked = false;
  for (const RowNote& note : all) {
    rows += CountRows(note.rows);
    if (note.kind == "mark") {
      marked = true;
      EXPECT_EQ(note.portal, "*");
      EXPECT_EQ(note.rows.back(), (RowRange{2 * many, 1}));
    }
  }
  EXPECT_EQ(rows, many + 1);
  EXPECT_TRUE(marked) << "what is no answer is never said to be one";
}

TEST(RowNotesTest, BeyondTheLimitRangesAreJoinedAndNoRowIsLeftOut) {
  std::vector<int64_t> odd(2 * RowNotes::kMaxRanges);
  for (size_t i = 0; i < odd.size(); ++i) odd[i] = static_cast<int64_t>(2 * i + 1);
  RowNotes notes;
  notes.Add("full", "mark", absl::UnavailableError("lost"), odd);
  std::vector<RowRange> rows = notes.Notes()[0].rows;
  ASSERT_THAT(rows, SizeIs(RowNotes::kMaxRanges));
  EXPECT_EQ(rows[0], (RowRange{1, 1}));
  EXPECT_EQ(rows.back().first + rows.back().count - 1, odd.back());
  notes.Add("full", "mark", absl::UnavailableError("lost"), {0, odd.back() + 10});
  rows = notes.Notes()[0].rows;
  ASSERT_THAT(rows, SizeIs(RowNotes::kMaxRanges));
  EXPECT_EQ(rows[0], (RowRange{0, 2}));
  EXPECT_EQ(rows.back().first + rows.back().count - 1, odd.back() + 10);
}

TEST(RowNotesTest, TheTextIsBoundedAndSaysSo) {
  RowNotes notes;
  std::vector<int64_t> even(1000);
  for (size_t i = 0; i < even.size(); ++i) even[i] = static_cast<int64_t>(2 * i);
  notes.Add("full", "mark", absl::UnavailableError(std::string(1000, 'x')), even);
  const std::string one = notes.Joined();
  EXPECT_LE(one.size(), 600u);
  EXPECT_THAT(one, StartsWith("0,2,4,"));
  EXPECT_THAT(one, ::testing::ContainsRegex(",\\+[0-9]+ full=mark UNAVAILABLE: x"));
  for (int i = 0; i < 15; ++i) {
    notes.Add(std::string(500, static_cast<char>('a' + i)), "cheap", absl::InternalError(std::string(1000, 'y')), even);
  }
  const std::string all = notes.Joined();
  EXPECT_LE(all.size(), RowNotes::kMaxText);
  EXPECT_THAT(all, ::testing::ContainsRegex("; \\+1[0-9]$"));
  EXPECT_THAT(std::vector<int>(all.begin(), all.end()), Each(AllOf(Ge(' '), Le('~'))));
}

TEST(RowNotesTest, RowsOfAPartAreThoseOfTheWhole) {
  const std::vector<int64_t> rows = {1, 4, 5, 6, 20};
  EXPECT_THAT(RangesWithin(rows, {{0, 5}}), ElementsAre(RowRange{1, 1}, RowRange{4, 3}, RowRange{20, 1}));
  EXPECT_THAT(RangesWithin(rows, {{1, 2}, {4, 1}}), ElementsAre(RowRange{4, 2}, RowRange{20, 1}));
  EXPECT_THAT(RangesWithin(rows, {{5, 1}, {1000, 5}}), IsEmpty()) << "beyond the part";
  EXPECT_THAT(RangesOf({}), IsEmpty());
  EXPECT_EQ(CountRows({{0, 4}, {9, 1}}), 5);
}

}  // namespace
}  // namespace portico
