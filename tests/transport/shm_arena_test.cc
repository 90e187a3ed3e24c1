#include "transport/shm_arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

constexpr ShmSizes kSizes{.ring_bytes = 4096, .arena_bytes = 64 << 10};

/// Both ends, each with a mapping of its own, as two processes have it.
class ShmArenaTest : public ::testing::Test {
 protected:
  ShmArenaTest() {
    int fd = -1;
    own_ = *ShmRegion::Create(kSizes, &fd);
    theirs_ = *ShmRegion::Open(kSizes, fd);
    close(fd);
  }

  absl::StatusOr<Tensor> Lend(DType dtype, int64_t elements, uint64_t bytes, const StreamLoan& loan) {
    return lender().Lend(dtype, {elements}, bytes, loan);
  }
  ShmLender& lender() {
    if (!lender_) lender_ = std::make_unique<ShmLender>(theirs_, theirs_->to_client());
    return *lender_;
  }
  ShmArena& arena() {
    if (!arena_) arena_ = std::make_unique<ShmArena>(own_, own_->to_client());
    return *arena_;
  }

  Ref<ShmRegion> own_, theirs_;
  std::unique_ptr<ShmArena> arena_;
  std::unique_ptr<ShmLender> lender_;
};

TEST_F(ShmArenaTest, TensorsAreViewsOfWhatTheSenderPutIn) {
  const std::string bytes(20'000, 'q');
  const auto loan = arena().Put(bytes);
  ASSERT_TRUE(loan);
  const Tensor tensor = *Lend(DType::kFloat, 5000, bytes.size(), *loan);
  EXPECT_EQ(tensor.bytes(), bytes);
  EXPECT_TRUE(tensor.aligned());
  own_->to_client().arena[loan->offset] = 'r';
  EXPECT_EQ(tensor.bytes()[0], 'r') << "no copy";
}

TEST_F(ShmArenaTest, WhatKernelsUseAsPlacesIsCopied) {
  for (const DType dtype : {DType::kInt64, DType::kUint64}) {
    const auto loan = arena().Put(std::string(8000, '\0'));
    ASSERT_TRUE(loan);
    const Tensor tensor = *Lend(dtype, 1000, 8000, *loan);
    std::memset(own_->to_client().arena + loan->offset, 0x7f, 8000);
    EXPECT_EQ(tensor.bytes(), std::string(8000, '\0'));
  }
  const auto loan = arena().Put(std::string(24, '\0'));
  const Tensor strings = *Lend(DType::kString, 2, 24, *loan);
  std::memset(own_->to_client().arena + loan->offset, 0x7f, 24);
  EXPECT_EQ(strings.StringAt(1), "") << "offsets that were checked stay";
}

TEST_F(ShmArenaTest, PlaceIsUsedAgainOnceTheTensorIsGone) {
  const std::string bytes(kSizes.arena_bytes, 'x');
  for (int i = 0; i < 10'000; ++i) {
    const auto loan = arena().Put(bytes);
    ASSERT_TRUE(loan) << i;
    Tensor tensor = *Lend(DType::kUint8, static_cast<int64_t>(bytes.size()), bytes.size(), *loan);
    EXPECT_FALSE(arena().Put("y")) << "full";
  }
}

TEST_F(ShmArenaTest, LeasesAreBounded) {
  std::vector<StreamLoan> loans;
  ShmSizes sizes{.ring_bytes = 4096, .arena_bytes = 16 << 20};
  int fd = -1;
  const Ref<ShmRegion> region = *ShmRegion::Create(sizes, &fd);
  close(fd);
  ShmArena arena(region, region->to_client());
  for (uint32_t i = 0; i < kShmLeases; ++i) ASSERT_TRUE(arena.Put("z"));
  EXPECT_FALSE(arena.Put("z"));
}

TEST_F(ShmArenaTest, AnyOrderOfReturnsLeavesOneFreePlace) {
  std::mt19937 random(7);
  std::vector<std::pair<Tensor, std::string>> held;
  for (int i = 0; i < 20'000; ++i) {
    if (random() % 2 == 0 || held.empty()) {
      const std::string bytes(1 + random() % 9000, static_cast<char>(random()));
      if (const auto loan = arena().Put(bytes)) {
        held.emplace_back(*Lend(DType::kUint8, static_cast<int64_t>(bytes.size()), bytes.size(), *loan), bytes);
      }
    } else {
      std::swap(held[random() % held.size()], held.back());
      EXPECT_EQ(held.back().first.bytes(), held.back().second);
      held.pop_back();
    }
  }
  held.clear();
  EXPECT_TRUE(arena().Put(std::string(kSizes.arena_bytes, 'a'))) << "in one piece";
}

TEST_F(ShmArenaTest, LoanThatLiesOutsideIsRefused) {
  const uint64_t arena = kSizes.arena_bytes;
  for (const auto& [loan, bytes] : std::vector<std::pair<StreamLoan, uint64_t>>{
           {{arena, 0, 1}, 1},
           {{0, 0, 1}, arena + 1},
           {{arena - 64, 0, 1}, 65},
           {{~uint64_t{63}, 0, 1}, 128},
           {{1, 0, 1}, 8},
           {{0, kShmLeases, 1}, 8},
           {{0, ~uint32_t{0}, 1}, 8},
       }) {
    const auto tensor = Lend(DType::kUint8, static_cast<int64_t>(bytes), bytes, loan);
    EXPECT_EQ(tensor.status().code(), absl::StatusCode::kInvalidArgument) << loan.offset << " " << bytes;
  }
  EXPECT_TRUE(Lend(DType::kUint8, static_cast<int64_t>(arena), arena, {0, kShmLeases - 1, 1}).ok());
}

TEST_F(ShmArenaTest, ReturnsThatNobodyIsOwedFreeNothing) {
  const auto loan = arena().Put(std::string(kSizes.arena_bytes, 'x'));
  ASSERT_TRUE(loan);
  for (uint32_t i = 0; i < kShmLeases; ++i) theirs_->to_client().given_back[i] = 77;
  EXPECT_FALSE(arena().Put("y"));
  theirs_->to_client().given_back[loan->lease] = loan->sequence;
  EXPECT_TRUE(arena().Put("y"));
}

TEST_F(ShmArenaTest, MemoryStaysAsLongAsATensorOfIt) {
  const auto loan = arena().Put(std::string(8000, 'k'));
  const Tensor tensor = *Lend(DType::kUint8, 8000, 8000, *loan);
  arena_.reset();
  lender_.reset();
  own_ = nullptr;
  theirs_ = nullptr;
  EXPECT_EQ(tensor.bytes(), std::string(8000, 'k'));
}

TEST(ShmRegionTest, MemoryCannotShrinkOrGrow) {
  int fd = -1;
  ASSERT_TRUE(ShmRegion::Create(kSizes, &fd).ok());
  EXPECT_NE(ftruncate(fd, 4096), 0);
  EXPECT_NE(ftruncate(fd, 1 << 30), 0);
  EXPECT_NE(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0) << "and the seals stay as they are";
  close(fd);
}

TEST(ShmRegionTest, MemoryThatCouldEndInSigbusIsRefused) {
  const auto why = [](int fd, const ShmSizes& sizes = kSizes) {
    const absl::Status status = ShmRegion::Open(sizes, fd).status();
    close(fd);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  const int unsealed = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(ftruncate(unsealed, 1 << 20), 0);
  EXPECT_THAT(why(unsealed), HasSubstr("not sealed"));
  const int shrinks = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(fcntl(shrinks, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL), 0);
  EXPECT_THAT(why(shrinks), HasSubstr("not sealed"));
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  close(pipes[1]);
  EXPECT_THAT(why(pipes[0]), HasSubstr("not sealed"));
  int fd = -1;
  ASSERT_TRUE(ShmRegion::Create(kSizes, &fd).ok());
  ShmSizes larger = kSizes;
  larger.arena_bytes += 4096;
  EXPECT_THAT(why(fd, larger), HasSubstr("want"));
  for (const ShmSizes& sizes : {ShmSizes{0, 4096}, ShmSizes{5000, 4096}, ShmSizes{uint64_t{1} << 40, 4096},
                                ShmSizes{4096, ~uint64_t{0}}, ShmSizes{4096, 4097}}) {
    EXPECT_EQ(sizes.Check().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace portico
