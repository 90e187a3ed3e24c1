#include "transport/stream_reader.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

std::string HeaderOf(uint64_t call_id, const std::vector<Tensor>& tensors) {
  std::string header;
  EncodeHeader(PeerHeader(), {PeerHeader::Kind::kCall, call_id, 0, tensors}, &header);
  return header;
}

std::string BytesOf(StreamQueue& queue) {
  std::string bytes;
  while (!queue.empty()) {
    iovec pieces[3];
    const int count = queue.Pieces(pieces, 3);
    size_t size = 0;
    for (int i = 0; i < count; ++i) {
      bytes.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
      size += pieces[i].iov_len;
    }
    queue.Consume(size);
  }
  return bytes;
}

std::string Prefix(uint32_t header, uint32_t inlined, uint32_t frames) {
  std::string bytes(StreamPrefix::kBytes, '\0');
  StreamPrefix{header, inlined, frames}.Store(bytes.data());
  return bytes;
}

class StreamReaderTest : public ::testing::Test {
 protected:
  /// Feeds `bytes` in portions, as the kernel would.
  absl::Status Feed(absl::string_view bytes, size_t portion) {
    while (!bytes.empty()) {
      iovec space[2];
      const int count = reader_.Space(space);
      size_t done = 0;
      for (int i = 0; i < count; ++i) {
        const size_t size = std::min({bytes.size(), portion - done, space[i].iov_len});
        std::memcpy(space[i].iov_base, bytes.data(), size);
        bytes.remove_prefix(size);
        done += size;
      }
      reader_.Commit(done);
      for (;;) {
        PeerMessage message;
        const absl::StatusOr<bool> whole = reader_.Next(&message);
        if (!whole.ok()) return whole.status();
        if (!*whole) break;
        messages_.push_back(std::move(message));
      }
      reader_.Rest();
    }
    return absl::OkStatus();
  }

  StreamBuffers buffers_;
  PeerLimits limits_;
  StreamReader reader_{limits_, buffers_};
  std::vector<PeerMessage> messages_;
};

TEST_F(StreamReaderTest, MessagesArriveHoweverTheBytesAreCut) {
  std::vector<std::vector<Tensor>> calls;
  for (int i = 0; i < 40; ++i) {
    calls.push_back({Tensor::CopyOf(DType::kUint8, {i * 7}, std::string(i * 7, static_cast<char>('a' + i % 26)))});
    if (i % 5 == 0) {
      const int64_t size = 4097 + i * 3001;
      calls.back().push_back(Tensor::CopyOf(DType::kUint8, {size}, std::string(size, static_cast<char>('A' + i % 26))));
      calls.back().push_back(Tensor::Of<float>({2}, {1.0f, static_cast<float>(i)}));
    }
  }
  for (const size_t portion : {size_t{1}, size_t{13}, size_t{4096}, size_t{70'000}, size_t{10'000'000}}) {
    reader_.Reset();
    reader_.Greeted();
    messages_.clear();
    StreamQueue queue;
    for (size_t i = 0; i < calls.size(); ++i) {
      queue.Append(HeaderOf(i + 1, calls[i]), calls[i]);
      if (i % 3 == 0) queue.AppendHeartbeat();
    }
    ASSERT_TRUE(Feed(BytesOf(queue), portion).ok()) << portion;
    ASSERT_EQ(messages_.size(), calls.size()) << portion;
    for (size_t i = 0; i < calls.size(); ++i) {
      EXPECT_EQ(messages_[i].header.call_id, i + 1);
      ASSERT_EQ(messages_[i].tensors.size(), calls[i].size());
      for (size_t t = 0; t < calls[i].size(); ++t) {
        EXPECT_TRUE(messages_[i].tensors[t].bytes() == calls[i][t].bytes()) << portion << " " << i << " " << t;
        EXPECT_TRUE(messages_[i].tensors[t].aligned());
      }
    }
    EXPECT_FALSE(reader_.unfinished());
  }
}

TEST_F(StreamReaderTest, SmallTensorsAreViewsAndLargeOnesHaveTheirOwnMemory) {
  reader_.Greeted();
  const std::vector<Tensor> tensors = {Tensor::Of<float>({1}, {1}), Tensor::Allocate(DType::kUint8, {100'000})};
  StreamQueue queue;
  queue.Append(HeaderOf(1, tensors), tensors);
  ASSERT_TRUE(Feed(BytesOf(queue), 1 << 20).ok());
  ASSERT_EQ(messages_.size(), 1u);
  EXPECT_EQ(messages_[0].tensors[0].origin().get(), messages_[0].origin.get());
  EXPECT_NE(messages_[0].tensors[1].origin().get(), messages_[0].origin.get());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(messages_[0].tensors[1].bytes().data()) % 64, 0u);
}

TEST_F(StreamReaderTest, ViewsStayAsTheyAreWhileMoreIsRead) {
  reader_.Greeted();
  std::string bytes;
  for (int i = 0; i < 5000; ++i) {
    const std::vector<Tensor> tensors = {Tensor::Of<int32_t>({1}, {i})};
    StreamQueue queue;
    queue.Append(HeaderOf(i + 1, tensors), tensors);
    bytes += BytesOf(queue);
  }
  ASSERT_TRUE(Feed(bytes, 1000).ok());
  ASSERT_EQ(messages_.size(), 5000u);
  for (int i = 0; i < 5000; ++i) EXPECT_EQ(messages_[i].tensors[0].data<int32_t>()[0], i);
}

TEST_F(StreamReaderTest, CountsAndLengthsAreCheckedBeforeMemoryIsTaken) {
  struct Case {
    std::string bytes;
    const char* want;
  };
  const std::vector<Case> cases = {
      {"GET / HTTP/1.1\r\n", "without the magic"},          {Prefix(0xffffffff, 0, 0), "bytes of a header"},
      {Prefix(8, 0xffffffff, 0), "bytes of small tensors"}, {Prefix(8, 0, 0xffffffff), "large tensors"},
      {Prefix(0, 8, 0), "bytes of small tensors"},          {Prefix(0, 0, 1), "large tensors"},
  };
  for (const Case& c : cases) {
    reader_.Reset();
    reader_.Greeted();
    const absl::Status status = Feed(c.bytes, 3);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.want));
  }
}

TEST_F(StreamReaderTest, PrefixThatDoesNotFitItsHeaderIsRefused) {
  reader_.Greeted();
  const std::vector<Tensor> tensors = {Tensor::Of<float>({2}, {1, 2})};
  std::string header = HeaderOf(1, tensors);
  const auto size = static_cast<uint32_t>(header.size());
  header.resize(StreamPadded(size));
  const absl::Status status = Feed(Prefix(size, 16, 0) + header + std::string(16, 'x'), 1000);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_TRUE(messages_.empty());
}

TEST_F(StreamReaderTest, BeforeHelloNoTensorsAreTaken) {
  const std::vector<Tensor> tensors = {Tensor::Of<float>({2}, {1, 2})};
  StreamQueue queue;
  queue.Append(HeaderOf(1, tensors), tensors);
  EXPECT_EQ(Feed(BytesOf(queue), 1000).code(), absl::StatusCode::kInvalidArgument);
}

TEST(StreamQueueTest, WorkedExampleOfTheWireFormat) {
  const std::vector<Tensor> tensors = {Tensor::Of<float>({1, 2}, {1.0f, 0.5f})};
  std::string header;
  EncodeHeader(PeerHeader(), {PeerHeader::Kind::kReply, 1, 0, tensors}, &header);
  StreamQueue queue;
  queue.Append(header, tensors);
  const unsigned char want[] = {
      0x50, 0x54, 0x53, 0x31, 0x11, 0,    0,    0,    0x08, 0,    0,    0,    0,    0,    0,    0,  //
      0x08, 0x01, 0x10, 0x03, 0x18, 0x01, 0xa2, 0x01, 0x08, 0x10, 0x01, 0x1a, 0x02, 0x01, 0x02, 0x20,
      0x08, 0,    0,    0,    0,    0,    0,    0,    0,    0,    0x80, 0x3f, 0,    0,    0,    0x3f};
  EXPECT_EQ(BytesOf(queue), std::string(reinterpret_cast<const char*>(want), sizeof(want)));
}

}  // namespace
}  // namespace portico
