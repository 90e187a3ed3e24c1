#include "embedding/bucket_index.h"

#include <cstring>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "embedding/id_hash.h"
#include "embedding/index_builder.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

/// Buckets of (hash, row) pairs, collected from the pieces.
absl::StatusOr<std::vector<IndexBucket>> Build(const std::vector<uint64_t>& hashes, IndexBuilder::Options options = {},
                                               int* same = nullptr) {
  IndexBuilder builder(std::move(options));
  for (size_t i = 0; i < hashes.size(); ++i) {
    if (absl::Status status = builder.Add(hashes[i], static_cast<uint32_t>(i)); !status.ok()) return status;
  }
  std::vector<IndexBucket> buckets;
  const absl::Status status = builder.Finish(
      [&](absl::Span<const IndexBucket> piece) {
        buckets.insert(buckets.end(), piece.begin(), piece.end());
        return absl::OkStatus();
      },
      [&](uint32_t, uint32_t) {
        if (same == nullptr) return absl::AlreadyExistsError("twice");
        ++*same;
        return absl::OkStatus();
      });
  if (!status.ok()) return status;
  return buckets;
}

std::vector<uint64_t> Hashes(size_t count) {
  std::vector<uint64_t> hashes;
  for (size_t i = 0; i < count; ++i) hashes.push_back(HashId(i * 977, 5));
  return hashes;
}

TEST(BucketIndexTest, EveryIdIsFoundAndNoOther) {
  for (const size_t count : {0, 1, 7, 10, 11, 100, 6000, 7000, 30'000, 200'000}) {
    const std::vector<uint64_t> hashes = Hashes(count);
    const auto buckets = Build(hashes);
    ASSERT_TRUE(buckets.ok()) << buckets.status();
    ASSERT_EQ(buckets->size(), BucketIndex::CountFor(count));
    const BucketIndex index(buckets->data(), buckets->size());
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(index.Find(hashes[i], [&](uint32_t row) { return hashes[row] == hashes[i]; }), i) << count;
    }
    uint64_t candidates = 0;
    for (size_t i = 0; i < 10'000; ++i) {
      const uint64_t hash = HashId(i * 977 + 1, 5);
      EXPECT_EQ(index.Find(hash,
                           [&](uint32_t row) {
                             ++candidates;
                             return hashes[row] == hash;
                           }),
                BucketIndex::kNoRow);
    }
    // 16 bits of tag: a miss of ten slots meets a row one time in 6,554.
    EXPECT_LE(candidates, 20u) << count;
  }
}

TEST(BucketIndexTest, MatchLooksAtTheSlotsInUseAlone) {
  IndexBucket bucket{};
  for (uint32_t i = 0; i < IndexBucket::kSlots; ++i) bucket.tags[i] = static_cast<uint16_t>(i % 3 == 0 ? 0xfffe : i);
  bucket.used = 10;
  // What stands behind the tags looks like one, and is none.
  bucket.passed = 0xfffe;
  bucket.rows[0] = 0xfffefffe;
  EXPECT_EQ(bucket.Match(0xfffe), 0b1001001001u);
  EXPECT_EQ(bucket.Match(4), 0b10000u);
  EXPECT_EQ(bucket.Match(99), 0u);
  bucket.used = 3;
  EXPECT_EQ(bucket.Match(0xfffe), 0b1u);
  bucket.used = 0;
  EXPECT_EQ(bucket.Match(0), 0u);
  // A file may say anything.
  bucket.used = 0xffff;
  EXPECT_EQ(bucket.Match(0xfffe), 0b1001001001u);
}

TEST(BucketIndexTest, LittleMemoryMakesTheSameIndex) {
  const TempFolder folder;
  const std::vector<uint64_t> hashes = Hashes(50'000);
  const auto roomy = Build(hashes);
  const auto tight = Build(hashes, {.folder = folder.path(), .memory_bytes = 10'000});
  ASSERT_TRUE(roomy.ok() && tight.ok());
  ASSERT_EQ(roomy->size(), tight->size());
  EXPECT_EQ(std::memcmp(roomy->data(), tight->data(), roomy->size() * sizeof(IndexBucket)), 0);
}

TEST(BucketIndexTest, IdsOfOneHashStandSideBySideWhereTheyMay) {
  std::vector<uint64_t> hashes = Hashes(1000);
  hashes.push_back(hashes[17]);
  hashes.push_back(hashes[17]);
  EXPECT_EQ(Build(hashes).status().code(), absl::StatusCode::kAlreadyExists);
  int same = 0;
  const auto buckets = Build(hashes, {}, &same);
  ASSERT_TRUE(buckets.ok());
  EXPECT_EQ(same, 3);
  const BucketIndex index(buckets->data(), buckets->size());
  for (const uint32_t want : {17u, 1000u, 1001u}) {
    EXPECT_EQ(index.Find(hashes[17], [&](uint32_t row) { return row == want; }), want);
  }
}

TEST(BucketIndexTest, FullBucketsOverflowWithinTheirGroupAndAFullGroupIsAnError) {
  // All in one bucket: with enough others to have 2,048 buckets.
  std::vector<uint64_t> hashes = Hashes(10'000);
  for (uint64_t i = 0; i < 2000; ++i) hashes.push_back((uint64_t{1} << 53) - 1 - i);
  const auto buckets = Build(hashes);
  ASSERT_TRUE(buckets.ok()) << buckets.status();
  ASSERT_EQ(buckets->size(), 2048u);
  const BucketIndex index(buckets->data(), buckets->size());
  for (size_t i = 0; i < hashes.size(); ++i) {
    ASSERT_EQ(index.Find(hashes[i], [&](uint32_t row) { return hashes[row] == hashes[i]; }), i);
  }
  for (uint64_t i = 0; i < 12'000; ++i) hashes.push_back((uint64_t{1} << 53) - 5000 - i);
  const absl::Status full = Build(hashes).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kInvalidArgument) << full;
}

TEST(BucketIndexTest, AFileThatPointsInCirclesEndsTheSearch) {
  std::vector<IndexBucket> buckets(2048);
  for (IndexBucket& bucket : buckets) bucket.passed = 1;
  const BucketIndex index(buckets.data(), buckets.size());
  EXPECT_EQ(index.Find(HashId(1, 0), [](uint32_t) { return true; }), BucketIndex::kNoRow);
}

TEST(BucketIndexTest, TemporaryFilesThatCannotBeMadeAreAnError) {
  const absl::Status status = Build(Hashes(100), {.folder = "/nonexistent", .memory_bytes = 100}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
}

TEST(IdHashTest, TheFormatDoesNotChange) {
  EXPECT_EQ(HashId(uint64_t{0}, 0), 0u);
  EXPECT_EQ(HashId(uint64_t{1}, 0), 0xb456bcfc34c2cb2cull);
  EXPECT_EQ(HashId(uint64_t{1}, 1), 0u);
  // XXH3's own value for nothing, as its authors give it.
  EXPECT_EQ(HashId(absl::string_view(), 0), 0x2d06800538d394c2ull);
  EXPECT_NE(HashId(absl::string_view("a"), 0), HashId(absl::string_view("a"), 1));
}

}  // namespace
}  // namespace portico
