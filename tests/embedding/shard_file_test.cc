#include "embedding/shard_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "embedding/crc32c.h"
#include "embedding/scrubber.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/embedding/shard_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uint64_t kBlock = ShardLayout::kBlockBytes;
constexpr size_t kDim = 16;

class ShardFileTest : public ::testing::Test {
 protected:
  /// Some tables of each kind, several blocks each.
  void SetUp() override {
    path_ = folder_.File("shard");
    const absl::Status built = BuildShard(
        path_, {{{.name = "dense", .dim = kDim}, 5000},
                {{.name = "sparse", .dim = kDim, .id_kind = IdKind::kSparse, .seed = 9}, 8000},
                {{.name = "string", .dim = kDim, .row_type = RowType::kFloat16, .id_kind = IdKind::kString}, 5000}});
    ASSERT_TRUE(built.ok()) << built;
  }

  void FlipBit(uint64_t at, int bit = 0) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    char byte = 0;
    file.seekg(static_cast<std::streamoff>(at)).get(byte);
    file.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(byte ^ 1 << bit));
  }

  static absl::StatusOr<std::vector<float>> Row(const ShardFile& file, absl::string_view name, size_t row) {
    const EmbeddingTable& table = *file.Find(name);
    const std::vector<int64_t> ids = {name == "sparse" ? SparseId(row) : static_cast<int64_t>(row)};
    const std::string text = StringId(row);
    const std::vector<absl::string_view> strings = {text};
    std::vector<float> out(kDim);
    const auto counts = name == "string" ? table.Lookup({.strings = strings}, Pooling::kNone, absl::MakeSpan(out))
                                         : table.Lookup({.ids = ids}, Pooling::kNone, absl::MakeSpan(out));
    if (!counts.ok()) return counts.status();
    return out;
  }

  static absl::Status VerifyAll(const ShardFile& file) {
    return file.Verify([](uint64_t) { return true; });
  }

  const TempFolder folder_;
  std::string path_;
};

TEST(Crc32cTest, IsTheOneOfRfc3720) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST_F(ShardFileTest, ReadsBackWhatWasWritten) {
  for (const bool in_memory : {false, true}) {
    const auto file = OpenShard(path_, {.in_memory = in_memory});
    for (const char* const name : {"dense", "sparse", "string"}) {
      for (const size_t row : {0u, 1u, 999u, 4999u}) {
        const auto values = Row(*file, name, row);
        ASSERT_TRUE(values.ok()) << values.status();
        const std::vector<float> want = RowValues(row, kDim);
        for (size_t d = 0; d < kDim; ++d) EXPECT_NEAR((*values)[d], want[d], 0.01);
      }
    }
    EXPECT_EQ(file->Find("other"), nullptr);
  }
}

TEST_F(ShardFileTest, OpeningReadsNoRowsAndBlocksAreVerifiedWhenWanted) {
  const auto file = OpenShard(path_);
  const uint64_t all = file->blocks().unverified_blocks();
  EXPECT_GT(all, 20u);
  ASSERT_TRUE(Row(*file, "dense", 0).ok());
  // Its block, and that of its checksum.
  EXPECT_EQ(file->blocks().unverified_blocks(), all - 2);
  ASSERT_TRUE(Row(*file, "dense", 1).ok());
  EXPECT_EQ(file->blocks().unverified_blocks(), all - 2);
  ASSERT_TRUE(VerifyAll(*file).ok());
  EXPECT_TRUE(file->blocks().AllVerified());
}

TEST_F(ShardFileTest, ABitThatFlippedIsAnErrorThatNamesItsBlockAndTheOthersAreServed) {
  const ShardLayout layout = OpenShard(path_)->layout();
  const ShardLayout::Table& table = layout.tables[0];
  FlipBit(table.rows.offset + 2 * kBlock + 12345, 5);
  const auto file = OpenShard(path_);
  const size_t broken_row = (2 * kBlock + 12345) / table.stride;
  EXPECT_TRUE(Row(*file, "dense", 0).ok());
  for (int again = 0; again < 2; ++again) {
    const absl::Status status = Row(*file, "dense", broken_row).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    const uint64_t block = table.rows.offset / kBlock + 2;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("table 'dense': shard file '"),
                      HasSubstr(absl::StrCat("block ", block, " (rows of table 'dense'"))));
  }
  EXPECT_TRUE(Row(*file, "sparse", 7).ok());
  EXPECT_EQ(VerifyAll(*file).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(file->blocks().broken_blocks(), 1u);
  EXPECT_FALSE(file->blocks().AllVerified());
  EXPECT_TRUE(Row(*file, "dense", 0).ok());
}

TEST_F(ShardFileTest, AFlipAnywhereInASectionIsFound) {
  const ShardLayout layout = OpenShard(path_)->layout();
  for (const ShardLayout::Section& section : layout.Sections()) {
    for (const uint64_t at : {section.offset, section.offset + section.bytes / 2, section.offset + section.bytes - 1}) {
      FlipBit(at, 7);
      const auto file = OpenShard(path_);
      const absl::Status status = VerifyAll(*file);
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << at;
      EXPECT_THAT(std::string(status.message()), HasSubstr(layout.NameOf(at / kBlock)));
      FlipBit(at, 7);
    }
  }
  EXPECT_TRUE(VerifyAll(*OpenShard(path_)).ok());
}

TEST_F(ShardFileTest, OneSuperblockMayBeBrokenButNotBoth) {
  FlipBit(20);
  EXPECT_TRUE(ShardFile::Open(path_).ok());
  FlipBit(20);
  FlipBit(4096 + 20);
  EXPECT_TRUE(ShardFile::Open(path_).ok());
  FlipBit(20);
  const absl::Status status = ShardFile::Open(path_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("superblock: got CRC-32C"));
}

TEST_F(ShardFileTest, AFlipInTheDirectoryIsFoundAtOpening) {
  const uint64_t bytes = std::filesystem::file_size(path_);
  FlipBit(bytes - 3);
  EXPECT_THAT(std::string(ShardFile::Open(path_).status().message()), HasSubstr("directory (bytes "));
}

TEST_F(ShardFileTest, EveryLengthButItsOwnIsRefused) {
  const uint64_t bytes = std::filesystem::file_size(path_);
  for (const uint64_t length :
       {uint64_t{0}, uint64_t{1}, uint64_t{8191}, uint64_t{8192}, bytes / 2, bytes - 1, bytes + 1}) {
    std::filesystem::resize_file(path_, length);
    const absl::Status status = ShardFile::Open(path_).status();
    EXPECT_FALSE(status.ok()) << length;
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("got ", length, " bytes"))) << length;
    // What was cut off came back as zeros: the directory is gone.
    if (length < bytes) {
      std::filesystem::resize_file(path_, bytes);
      EXPECT_FALSE(ShardFile::Open(path_).ok()) << length;
      ASSERT_TRUE(BuildShard(path_, {{{.name = "dense", .dim = kDim}, 5000}}).ok());
      if (std::filesystem::file_size(path_) != bytes) SetUp();
    }
  }
}

TEST_F(ShardFileTest, OtherFilesAreRefused) {
  const std::string text = folder_.Write("text", std::string(10'000, 'x'));
  EXPECT_THAT(std::string(ShardFile::Open(text).status().message()), HasSubstr("got no shard file"));
  EXPECT_EQ(ShardFile::Open(folder_.path()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ShardFile::Open(folder_.path() + "/none").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ShardFileTest, AFileThatShrinksUnderLookupsIsAnErrorOfItsBlocks) {
  const auto file = OpenShard(path_);
  const ShardLayout::Table& table = file->layout().tables[0];
  ASSERT_TRUE(Row(*file, "dense", 0).ok());
  // In the middle of a page, within the rows' second block.
  std::filesystem::resize_file(path_, table.rows.offset + kBlock + 10'000);
  EXPECT_TRUE(Row(*file, "dense", 1).ok());
  const absl::Status gone = Row(*file, "dense", 4999).status();
  EXPECT_EQ(gone.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(gone.message()), AllOf(HasSubstr("its bytes are gone"), HasSubstr("rows of table 'dense'")));
}

TEST_F(ShardFileTest, AFileThatShrinksAfterAllWasVerifiedIsAnErrorToo) {
  const auto file = OpenShard(path_);
  ASSERT_TRUE(VerifyAll(*file).ok());
  ASSERT_TRUE(file->blocks().AllVerified());
  const ShardLayout::Table& table = file->layout().tables[0];
  std::filesystem::resize_file(path_, table.rows.offset + kBlock + 10'000);
  // Rows of one request, here and gone: all or nothing.
  const std::vector<int64_t> ids = {0, 1, 4990}, offsets = {0, 3};
  std::vector<float> out(kDim);
  const auto counts = file->Find("dense")->Lookup({.ids = ids, .offsets = offsets}, Pooling::kSum, absl::MakeSpan(out));
  EXPECT_EQ(counts.status().code(), absl::StatusCode::kDataLoss) << counts.status();
  EXPECT_FALSE(file->blocks().AllVerified());
  // In the page where the file ends now, zeros stand without a fault: not served either.
  EXPECT_EQ(Row(*file, "dense", (kBlock + 10'100) / table.stride).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Row(*file, "sparse", 3).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Row(*file, "string", 3).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(Row(*file, "dense", 1).ok());
}

TEST_F(ShardFileTest, ManyThreadsSeeErrorsAndNoWrongRowsWhileTheFileShrinks) {
  const auto file = OpenShard(path_);
  ASSERT_TRUE(VerifyAll(*file).ok());
  std::atomic<int> right{0}, refused{0}, wrong{0};
  std::atomic<bool> shrunk{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int turns_left = 200; turns_left > 0; turns_left -= shrunk ? 1 : 0) {
        for (size_t row = static_cast<size_t>(t); row < 5000; row += 97) {
          const auto values = Row(*file, "dense", row);
          if (!values.ok()) {
            ++refused;
          } else {
            ++(*values == RowValues(row, kDim) ? right : wrong);
          }
        }
      }
    });
  }
  while (right < 1000) std::this_thread::yield();
  std::filesystem::resize_file(path_, file->layout().tables[0].rows.offset + kBlock);
  shrunk = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(right, 0);
  EXPECT_GT(refused, 0);
}

TEST_F(ShardFileTest, ABusErrorElsewhereEndsTheProcessAsBefore) {
  const auto file = OpenShard(path_);
  const auto read_nothing = [this] {
    const int fd = open(folder_.File("other").c_str(), O_RDWR | O_CREAT, 0600);
    const void* other = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
    alarm(10);
    _exit(*static_cast<const volatile char*>(other) == 0 ? 1 : 2);
  };
  // Under a sanitizer, its own handler comes next and says so.
  EXPECT_DEATH(read_nothing(), "");
}

TEST_F(ShardFileTest, ScrubbingVerifiesTheRestAndTellsOfWhatIsBroken) {
  const auto scrub = [](const ShardFile& file) {
    std::promise<absl::Status> result;
    const Scrubber scrubber(
        file, {.bytes_per_second = 0, .on_end = [&](const absl::Status& status) { result.set_value(status); }});
    return result.get_future().get();
  };
  {
    const auto file = OpenShard(path_);
    const absl::Status result = scrub(*file);
    EXPECT_TRUE(result.ok()) << result;
    EXPECT_TRUE(file->blocks().AllVerified());
  }
  FlipBit(OpenShard(path_)->layout().tables[1].index.offset + 100);
  const auto file = OpenShard(path_);
  EXPECT_THAT(std::string(scrub(*file).message()), HasSubstr("index of table 'sparse'"));
  EXPECT_EQ(file->blocks().broken_blocks(), 1u);
}

TEST_F(ShardFileTest, ScrubbingStopsWhenToldAndKeepsItsPace) {
  const auto file = OpenShard(path_);
  bool ended = false;
  {
    // One block an hour.
    const Scrubber scrubber(*file,
                            {.bytes_per_second = kBlock / 3600, .on_end = [&](const absl::Status&) { ended = true; }});
    while (file->blocks().unverified_blocks() == OpenShard(path_)->blocks().unverified_blocks())
      std::this_thread::yield();
  }
  EXPECT_FALSE(ended);
  EXPECT_FALSE(file->blocks().AllVerified());
}

}  // namespace
}  // namespace portico
