#include "transport/zmq_pack.h"
#include "transport/hello.h"

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

std::string CallHeader(uint64_t call_id, absl::Span<const Tensor> tensors) {
  std::string bytes;
  EncodeHeader(PeerHeader(), {PeerHeader::Kind::kCall, call_id, 0, tensors}, &bytes);
  return bytes;
}

/// The frames of a pack as a receiver gets them: in memory of their own.
std::vector<ReceivedFrame> Frames(const Pack& pack) {
  std::vector<ReceivedFrame> frames;
  const auto add = [&](absl::string_view bytes) {
    const Tensor copy = Tensor::CopyOf(DType::kUint8, {static_cast<int64_t>(bytes.size())}, bytes);
    frames.push_back({copy.bytes(), copy.origin()});
  };
  add(pack.head);
  for (const Tensor& tensor : pack.frames) add(tensor.bytes());
  return frames;
}

absl::StatusOr<std::vector<PeerMessage>> Unpacked(std::vector<ReceivedFrame> frames) {
  std::vector<PeerMessage> messages;
  absl::Status status = Unpack(absl::MakeSpan(frames), {}, &messages);
  if (!status.ok()) return status;
  return messages;
}

Pack TwoCalls() {
  const std::vector<Tensor> first = {Tensor::Of<uint8_t>({3}, {1, 2, 3}), Tensor::Of<double>({1}, {0.5}),
                                     Tensor::CopyOf(DType::kUint8, {5000}, std::string(5000, 'L'))};
  const std::vector<std::string> words = {"ab", ""};
  const std::vector<Tensor> second = {Tensor::OfStrings({2}, words)};
  Pack pack;
  pack.Append(CallHeader(1, first), first);
  pack.Append(CallHeader(2, second), second);
  return pack;
}

TEST(ZmqPackTest, MessagesComeOutAsTheyWentIn) {
  const Pack pack = TwoCalls();
  ASSERT_EQ(pack.frames.size(), 1u) << "only what is large has a frame of its own";
  const auto messages = Unpacked(Frames(pack));
  ASSERT_TRUE(messages.ok()) << messages.status();
  ASSERT_EQ(messages->size(), 2u);
  const auto& [first, second] = std::tie((*messages)[0], (*messages)[1]);
  EXPECT_EQ(first.header.call_id, 1u);
  ASSERT_EQ(first.tensors.size(), 3u);
  EXPECT_EQ(first.tensors[0].data<uint8_t>()[2], 3);
  EXPECT_EQ(first.tensors[2].bytes(), std::string(5000, 'L'));
  EXPECT_EQ(second.header.call_id, 2u);
  EXPECT_EQ(second.tensors.at(0).StringAt(0), "ab");
}

TEST(ZmqPackTest, TensorsAreAlignedWhereverTheFrameLies) {
  const Pack pack = TwoCalls();
  for (size_t offset = 0; offset < 8; ++offset) {
    const Tensor room = Tensor::CopyOf(DType::kUint8, {static_cast<int64_t>(offset + pack.head.size())},
                                       std::string(offset, 'x') + pack.head);
    auto frames = Frames(pack);
    frames[0] = {room.bytes().substr(offset), room.origin()};
    const auto messages = Unpacked(frames);
    ASSERT_TRUE(messages.ok()) << messages.status();
    EXPECT_TRUE((*messages)[0].tensors[1].aligned());
    EXPECT_EQ((*messages)[0].tensors[1].data<double>()[0], 0.5);
  }
}

TEST(ZmqPackTest, LargeTensorsAreNotCopied) {
  const Tensor large = Tensor::Allocate(DType::kUint8, {5000});
  Pack pack;
  pack.Append(CallHeader(1, {&large, 1}), {&large, 1});
  EXPECT_EQ(pack.frames.at(0).bytes().data(), large.bytes().data());
  auto frames = Frames(pack);
  const char* received = frames[1].bytes.data();
  EXPECT_EQ(Unpacked(frames)->at(0).tensors.at(0).bytes().data(), received);
}

TEST(ZmqPackTest, QueueStartsANewPackWhenOneIsFull) {
  PackQueue queue;
  const std::string header = CallHeader(1, {});
  for (uint32_t i = 0; i < kPackMaxMessages; ++i) EXPECT_EQ(queue.Append(header, {}), 0u);
  EXPECT_EQ(queue.Append(header, {}), 1u);
  EXPECT_EQ(queue.first(), 0u);
  std::vector<Pack> packs;
  queue.TakeAll(&packs);
  ASSERT_EQ(packs.size(), 2u);
  EXPECT_EQ(packs[0].messages, kPackMaxMessages);
  EXPECT_EQ(queue.first(), 2u);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.bytes(), 0u);
}

TEST(ZmqPackTest, FramesThatDoNotMatchTheHeadersAreRefused) {
  const Pack pack = TwoCalls();
  auto missing = Frames(pack);
  missing.pop_back();
  EXPECT_THAT(std::string(Unpacked(missing).status().message()), HasSubstr("fewer frames"));
  auto extra = Frames(pack);
  extra.push_back(extra[1]);
  EXPECT_THAT(std::string(Unpacked(extra).status().message()), HasSubstr("1 frames more"));
  auto shorter = Frames(pack);
  shorter[1].bytes.remove_suffix(1);
  EXPECT_FALSE(Unpacked(shorter).ok());
  EXPECT_FALSE(Unpacked({}).ok());
}

TEST(ZmqPackTest, EveryTruncationIsRefused) {
  const Pack pack = TwoCalls();
  for (size_t size = 0; size < pack.head.size(); ++size) {
    Pack cut = pack;
    cut.head.resize(size);
    EXPECT_FALSE(Unpacked(Frames(cut)).ok()) << size;
  }
}

TEST(ZmqPackTest, MutationsAreRefusedOrConsistent) {
  std::mt19937 random(11);
  const Pack pack = TwoCalls();
  for (int i = 0; i < 5000; ++i) {
    Pack mutated = pack;
    mutated.head[random() % mutated.head.size()] ^= static_cast<char>(1 << random() % 8);
    const auto messages = Unpacked(Frames(mutated));
    if (!messages.ok()) continue;
    for (const PeerMessage& message : *messages) ASSERT_EQ(message.tensors.size(), message.header.tensors.size());
  }
}

TEST(ZmqPackTest, HelloSaysWhatAPeerIs) {
  PeerState self;
  self.incarnation = 5;
  self.node = "n";
  self.served.push_back({"m", 2, Sha256("x")});
  self.served.push_back({"without digest", 0, Digest()});
  PeerHeader header;
  const std::string bytes = HelloHeader(self);
  ASSERT_TRUE(DecodeHeader(bytes, {}, &header).ok());
  const PeerState state = StateOfHello(header);
  EXPECT_TRUE(state.connected);
  EXPECT_EQ(state.incarnation, 5u);
  EXPECT_EQ(state.node, "n");
  ASSERT_EQ(state.served.size(), 2u);
  EXPECT_EQ(state.served[0].digest, Sha256("x"));
  EXPECT_TRUE(state.served[1].digest.empty());
}

/// As docs/wire_format.md prints bytes.
std::string HexLines(absl::string_view bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 16) {
    absl::StrAppendFormat(&text, "%04x ", at);
    for (const unsigned char byte : bytes.substr(at, 16)) absl::StrAppendFormat(&text, " %02x", byte);
    text += '\n';
  }
  return text;
}

TEST(ZmqPackTest, WorkedExampleOfTheDocumentationIsTrue) {
  const auto page = ReadFile(PORTICO_SOURCE_DIR "/docs/wire_format.md", 1 << 20);
  ASSERT_TRUE(page.ok()) << page.status();
  const Tensor tensor = Tensor::Of<float>({1, 2}, {1.0f, 0.5f});
  PeerHeader header;
  header.servable = "hub/enc";
  header.signature = "serving_default";
  header.revision = 7;
  header.hop = 1;
  header.tensors.resize(1);
  header.tensors[0].name = "x";
  std::string bytes;
  EncodeHeader(header, {PeerHeader::Kind::kCall, 1, 100'000, {&tensor, 1}}, &bytes);
  Pack call, reply;
  call.Append(bytes, {&tensor, 1});
  EXPECT_THAT(*page, HasSubstr(HexLines(call.head)));
  bytes.clear();
  EncodeHeader(PeerHeader(), {PeerHeader::Kind::kReply, 1, 0, {&tensor, 1}}, &bytes);
  reply.Append(bytes, {&tensor, 1});
  EXPECT_THAT(*page, HasSubstr(HexLines(reply.head)));
}

}  // namespace
}  // namespace portico
