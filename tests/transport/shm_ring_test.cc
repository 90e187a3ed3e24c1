#include "transport/shm_ring.h"

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace portico {
namespace {

constexpr size_t kCapacity = 64;

class ShmRingTest : public ::testing::Test {
 protected:
  std::string ReadAll() {
    std::string out(reader_.Ready(), '\0');
    reader_.Read(out.data(), out.size());
    return out;
  }

  ShmRingWords words_{};
  std::vector<char> data_ = std::vector<char>(kCapacity);
  ShmRingWriter writer_{words_, data_.data(), kCapacity};
  ShmRingReader reader_{words_, data_.data(), kCapacity};
};

TEST_F(ShmRingTest, BytesComeAsTheyWentAroundTheEnd) {
  for (int i = 0; i < 100; ++i) {
    const std::string sent(1 + i % 50, static_cast<char>('a' + i % 26));
    ASSERT_EQ(writer_.Room(), kCapacity);
    writer_.Write(sent.data(), sent.size());
    EXPECT_FALSE(reader_.HasData()) << "not published yet";
    writer_.Publish();
    ASSERT_TRUE(reader_.HasData());
    ASSERT_EQ(ReadAll(), sent);
    reader_.Publish();
  }
}

TEST_F(ShmRingTest, FullRingMakesTheWriterWaitUntilHalfIsFree) {
  const std::string all(kCapacity, 'x');
  writer_.Write(all.data(), all.size());
  writer_.Publish();
  EXPECT_EQ(writer_.Room(), 0u);
  ASSERT_TRUE(writer_.AwaitRoom());
  EXPECT_FALSE(writer_.TailMoved());
  char out[kCapacity];
  ASSERT_EQ(reader_.Ready(), kCapacity);
  reader_.Read(out, 8);
  EXPECT_FALSE(reader_.Publish()) << "not for so little";
  EXPECT_TRUE(writer_.TailMoved()) << "who looks may go on";
  reader_.Read(out, 24);
  EXPECT_TRUE(reader_.Publish());
  reader_.Read(out, 8);
  EXPECT_FALSE(reader_.Publish()) << "told once";
  EXPECT_EQ(writer_.Room(), 40u);
}

TEST_F(ShmRingTest, RoomThatCameMeanwhileIsSeen) {
  const std::string all(kCapacity, 'x');
  writer_.Write(all.data(), all.size());
  writer_.Publish();
  ASSERT_EQ(writer_.Room(), 0u);
  ASSERT_EQ(ReadAll().size(), kCapacity);
  reader_.Publish();
  EXPECT_FALSE(writer_.AwaitRoom());
}

TEST_F(ShmRingTest, SleeperIsWokenOnce) {
  writer_.Write("a", 1);
  EXPECT_FALSE(writer_.Publish()) << "nobody sleeps";
  EXPECT_FALSE(reader_.Sleep()) << "something has come";
  ReadAll();
  ASSERT_TRUE(reader_.Sleep());
  writer_.Write("b", 1);
  EXPECT_TRUE(writer_.Publish());
  writer_.Write("c", 1);
  EXPECT_FALSE(writer_.Publish());
}

TEST_F(ShmRingTest, WriterThatSaysNonsenseBreaksTheRing) {
  for (const uint64_t written : {uint64_t{kCapacity + 1}, ~uint64_t{0}, uint64_t{1} << 63}) {
    words_.written = written;
    ShmRingReader reader(words_, data_.data(), kCapacity);
    EXPECT_TRUE(reader.HasData());
    EXPECT_EQ(reader.Ready(), 0u);
    EXPECT_TRUE(reader.broken());
    words_.written = 1;
    EXPECT_EQ(reader.Ready(), 0u) << "for good";
  }
}

TEST_F(ShmRingTest, WriterThatGoesBackBreaksTheRing) {
  words_.written = 20;
  ASSERT_EQ(reader_.Ready(), 20u);
  words_.written = 10;
  EXPECT_EQ(reader_.Ready(), 0u);
  EXPECT_TRUE(reader_.broken());
}

TEST_F(ShmRingTest, ReaderThatSaysNonsenseBreaksTheRing) {
  writer_.Write("0123456789", 10);
  writer_.Publish();
  words_.read = 11;
  EXPECT_EQ(writer_.Room(), 0u);
  EXPECT_TRUE(writer_.broken());
}

TEST_F(ShmRingTest, ReaderThatGoesBackBreaksTheRing) {
  writer_.Write("0123456789", 10);
  writer_.Publish();
  words_.read = 8;
  ASSERT_EQ(writer_.Room(), kCapacity - 2);
  words_.read = 7;
  EXPECT_EQ(writer_.Room(), 0u);
  EXPECT_TRUE(writer_.broken());
}

TEST_F(ShmRingTest, TwoThreadsNeverMissEachOther) {
  constexpr uint64_t kNumbers = 50'000;
  // Who has to be woken waits here, as on a descriptor.
  std::atomic<uint32_t> reader_bell{0}, writer_bell{0};
  std::thread writing([&] {
    for (uint64_t i = 0; i < kNumbers; ++i) {
      while (writer_.Room() < sizeof(i)) {
        const uint32_t heard = writer_bell.load();
        if (writer_.AwaitRoom()) writer_bell.wait(heard);
      }
      writer_.Write(&i, sizeof(i));
      if (!writer_.Publish()) continue;
      reader_bell.fetch_add(1);
      reader_bell.notify_one();
    }
  });
  for (uint64_t i = 0; i < kNumbers;) {
    const size_t ready = reader_.Ready();
    if (ready < sizeof(i)) {
      const uint32_t heard = reader_bell.load();
      if (reader_.Sleep()) reader_bell.wait(heard);
      continue;
    }
    uint64_t got = 0;
    reader_.Read(&got, sizeof(got));
    ASSERT_EQ(got, i++);
    if (!reader_.Publish()) continue;
    writer_bell.fetch_add(1);
    writer_bell.notify_one();
  }
  writing.join();
}

}  // namespace
}  // namespace portico
