#include "transport/peer_header.h"

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/wire.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "google/protobuf/unknown_field_set.h"
#include "gtest/gtest.h"
#include "peer.pb.h"

namespace portico {
namespace {

namespace pb = google::protobuf;
using ::testing::HasSubstr;

constexpr int kRandomHeaders = 2000;

std::string Encoded(const PeerHeader& header) {
  std::string bytes;
  EncodeHeader(header, &bytes);
  return bytes;
}

absl::StatusOr<PeerHeader> Decoded(absl::string_view bytes, const PeerLimits& limits = {}) {
  PeerHeader header;
  absl::Status status = DecodeHeader(bytes, limits, &header);
  if (!status.ok()) return status;
  return header;
}

/// Headers of proto/peer.proto as protobuf itself makes them, with random fields that DecodeHeader() has to take.
class ProtoHeaders {
 public:
  explicit ProtoHeaders(uint32_t seed) : random_(seed) {}

  std::unique_ptr<pb::Message> Empty() const { return std::make_unique<peer::Header>(); }

  std::unique_ptr<pb::Message> Random() {
    auto header = Empty();
    Fill(header.get());
    return header;
  }

  /// Adds fields that no release knows, here and in every message below.
  void AddUnknown(pb::Message* message) {
    const pb::Reflection* reflection = message->GetReflection();
    pb::UnknownFieldSet* unknown = reflection->MutableUnknownFields(message);
    unknown->AddVarint(900, Number());
    unknown->AddFixed32(901, 5);
    unknown->AddFixed64(902, Number());
    unknown->AddLengthDelimited(903, Text());
    std::vector<const pb::FieldDescriptor*> fields;
    reflection->ListFields(*message, &fields);
    for (const pb::FieldDescriptor* field : fields) {
      if (field->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) continue;
      for (int i = 0; i < reflection->FieldSize(*message, field); ++i) {
        AddUnknown(reflection->MutableRepeatedMessage(message, field, i));
      }
    }
  }

 private:
  using Field = const pb::FieldDescriptor*;

  bool Coin() { return random_() % 2 == 0; }
  /// Of any magnitude; all bits set now and then.
  uint64_t Number() {
    const uint64_t wide = static_cast<uint64_t>(random_()) << 32 | random_();
    return random_() % 8 == 0 ? ~uint64_t{0} : wide >> (random_() % 64);
  }
  std::string Text() { return std::string(random_() % (Coin() ? 8 : 200), static_cast<char>('a' + random_() % 26)); }

  void Fill(pb::Message* message) {
    const pb::Descriptor* type = message->GetDescriptor();
    if (type->name() == "TensorMeta") return FillTensor(message);
    for (int i = 0; i < type->field_count(); ++i) {
      const Field field = type->field(i);
      if (field->name() == "protocol")
        message->GetReflection()->SetUInt32(message, field, 1);
      else if (field->is_repeated())
        FillRepeated(message, field);
      else if (Coin())
        FillField(message, field);
    }
  }

  void FillRepeated(pb::Message* message, Field field) {
    const pb::Reflection* reflection = message->GetReflection();
    for (uint32_t count = random_() % 4; count > 0; --count) {
      if (field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE)
        Fill(reflection->AddMessage(message, field));
      else
        reflection->AddString(message, field, Text());
    }
  }

  void FillField(pb::Message* message, Field field) {
    const pb::Reflection* reflection = message->GetReflection();
    switch (field->cpp_type()) {
      case pb::FieldDescriptor::CPPTYPE_UINT64:
        return reflection->SetUInt64(message, field, Number());
      case pb::FieldDescriptor::CPPTYPE_UINT32:
        return reflection->SetUInt32(message, field, static_cast<uint32_t>(Number()));
      case pb::FieldDescriptor::CPPTYPE_INT32:
        return reflection->SetInt32(message, field, static_cast<int32_t>(Number()));
      case pb::FieldDescriptor::CPPTYPE_BOOL:
        return reflection->SetBool(message, field, Coin());
      case pb::FieldDescriptor::CPPTYPE_ENUM:
        return reflection->SetEnumValue(message, field, static_cast<int>(random_() % 6));
      case pb::FieldDescriptor::CPPTYPE_INT64: {
        // Only times may be negative.
        const auto value = static_cast<int64_t>(field->name() == "start_us" ? Number() : Number() >> 1);
        return reflection->SetInt64(message, field, value);
      }
      case pb::FieldDescriptor::CPPTYPE_STRING: {
        const bool digest = field->name() == "digest";
        return reflection->SetString(message, field, digest ? std::string(32, static_cast<char>(random_())) : Text());
      }
      default:
        PORTICO_CHECK(false);
    }
  }

  void FillTensor(pb::Message* tensor) {
    const pb::Reflection* reflection = tensor->GetReflection();
    const pb::Descriptor* type = tensor->GetDescriptor();
    const auto dtype = static_cast<DType>(1 + random_() % kMaxDType);
    uint64_t elements = 1;
    for (uint32_t rank = random_() % 5; rank > 0; --rank) {
      const uint64_t extent = random_() % (Coin() ? 4 : 40);
      elements *= extent;
      reflection->AddInt64(tensor, type->FindFieldByName("shape"), static_cast<int64_t>(extent));
    }
    if (Coin()) reflection->SetString(tensor, type->FindFieldByName("name"), Text());
    reflection->SetUInt32(tensor, type->FindFieldByName("dtype"), static_cast<uint32_t>(dtype));
    reflection->SetUInt64(tensor, type->FindFieldByName("bytes"),
                          dtype == DType::kString ? (elements + 1) * 8 + random_() % 100 : BytesFor(dtype, elements));
  }

  std::mt19937 random_;
};

TEST(PeerHeaderTest, ReadsAndWritesTheBytesThatProtobufWrites) {
  ProtoHeaders headers(1);
  for (int i = 0; i < kRandomHeaders; ++i) {
    const auto message = headers.Random();
    const std::string bytes = message->SerializeAsString();
    const auto header = Decoded(bytes);
    ASSERT_TRUE(header.ok()) << header.status() << "\n" << message->DebugString();
    ASSERT_EQ(Encoded(*header), bytes) << message->DebugString();
  }
}

TEST(PeerHeaderTest, FieldsOfLaterReleasesAreSkipped) {
  ProtoHeaders headers(2);
  for (int i = 0; i < kRandomHeaders; ++i) {
    const auto message = headers.Random();
    const std::string known = message->SerializeAsString();
    headers.AddUnknown(message.get());
    const std::string bytes = message->SerializeAsString();
    const auto header = Decoded(bytes);
    ASSERT_TRUE(header.ok()) << header.status();
    ASSERT_EQ(Encoded(*header), known);
  }
}

TEST(PeerHeaderTest, EveryFieldHasTheMeaningOfItsName) {
  const std::string digest(32, '\x07');
  PeerHeader header;
  header.kind = PeerHeader::Kind::kCall;
  header.version = 0;
  header.servable = "s";
  header.digest = digest;
  header.priority = -3;
  header.sampled = true;
  header.trace_state = "vendor=1";
  header.tensors.resize(1);
  header.tensors[0] = {"x", DType::kFloat, {2, 3}, 24};
  const ProtoHeaders headers(3);
  const auto message = headers.Empty();
  ASSERT_TRUE(message->ParseFromString(Encoded(header)));
  EXPECT_THAT(message->DebugString(), HasSubstr("kind: CALL"));
  EXPECT_THAT(message->DebugString(), HasSubstr("servable: \"s\""));
  EXPECT_THAT(message->DebugString(), HasSubstr("version: 1\n"));
  EXPECT_THAT(message->DebugString(), HasSubstr("priority: -3"));
  EXPECT_THAT(message->DebugString(), HasSubstr("sampled: true"));
  EXPECT_THAT(message->DebugString(), HasSubstr("trace_state: \"vendor=1\""));
  EXPECT_THAT(message->DebugString(), HasSubstr("name: \"x\"\n  dtype: 1\n  shape: 2\n  shape: 3\n  bytes: 24"));
}

TEST(PeerHeaderTest, EnvelopeStandsInForTheCallersHeader) {
  const Tensor tensor = Tensor::Of<float>({2}, {1, 2});
  PeerHeader header;
  header.servable = "s";
  header.tensors.resize(1);
  header.tensors[0].name = "x";
  std::string bytes;
  EncodeHeader(header, {PeerHeader::Kind::kCall, 7, 1000, {&tensor, 1}}, &bytes);
  const auto decoded = Decoded(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->kind, PeerHeader::Kind::kCall);
  EXPECT_EQ(decoded->call_id, 7u);
  EXPECT_EQ(decoded->timeout_us, 1000u);
  EXPECT_EQ(decoded->servable, "s");
  ASSERT_EQ(decoded->tensors.size(), 1u);
  EXPECT_EQ(decoded->tensors[0].name, "x");
  EXPECT_EQ(decoded->tensors[0].dtype, DType::kFloat);
  EXPECT_EQ(decoded->tensors[0].shape, Shape{2});
  EXPECT_EQ(decoded->tensors[0].bytes, 8u);
}

TEST(PeerHeaderTest, ShapeMayComeUnpacked) {
  std::string tensor, bytes;
  WireWriter in(&tensor);
  in.Varint(2, 2);
  in.Varint(3, 5);
  in.Varint(3, 6);
  in.Varint(4, 30);
  WireWriter out(&bytes);
  out.Varint(1, 1);
  out.Bytes(20, tensor);
  const auto header = Decoded(bytes);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->tensors[0].shape, (Shape{5, 6}));
}

TEST(PeerHeaderTest, KnownFieldOfAnotherTypeIsSkipped) {
  std::string bytes;
  WireWriter out(&bytes);
  out.Varint(1, 1);
  out.Varint(4, 77);
  out.Bytes(3, "not a number");
  const auto header = Decoded(bytes);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->servable, "");
  EXPECT_EQ(header->call_id, 0u);
}

TEST(PeerHeaderTest, KindOfALaterReleaseIsUnknownAndNoError) {
  std::string bytes;
  WireWriter out(&bytes);
  out.Varint(1, 1);
  out.Varint(2, 77);
  const auto header = Decoded(bytes);
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->kind, PeerHeader::Kind::kUnknown);
}

TEST(PeerHeaderTest, OtherProtocolIsRefused) {
  PeerHeader header;
  header.protocol = 2;
  EXPECT_THAT(std::string(Decoded(Encoded(header)).status().message()), HasSubstr("got protocol 2, want 1"));
  EXPECT_FALSE(Decoded("").ok());
}

PeerHeader WithTensor(TensorMeta meta) {
  PeerHeader header;
  header.tensors.push_back(std::move(meta));
  return header;
}

TEST(PeerHeaderTest, TensorThatDoesNotAddUpIsRefused) {
  EXPECT_TRUE(Decoded(Encoded(WithTensor({"x", DType::kFloat, {2}, 8}))).ok());
  const std::vector<TensorMeta> wrong = {
      {"bytes", DType::kFloat, {2}, 7},
      {"type 0", DType::kInvalid, {2}, 8},
      {"type 24", static_cast<DType>(24), {2}, 8},
      {"negative", DType::kFloat, {-1}, 0},
      {"overflows", DType::kFloat, {int64_t{1} << 40, int64_t{1} << 40}, 0},
      {"wraps to 0", DType::kFloat, {int64_t{1} << 32, int64_t{1} << 32}, 0},
      {"offsets", DType::kString, {2}, 23},
  };
  for (const TensorMeta& meta : wrong) {
    EXPECT_EQ(Decoded(Encoded(WithTensor(meta))).status().code(), absl::StatusCode::kInvalidArgument) << meta.name;
  }
}

TEST(PeerHeaderTest, LimitsHold) {
  PeerLimits limits;
  limits.max_tensors = 2;
  limits.max_rank = 3;
  limits.max_frame_bytes = 100;
  limits.max_message_bytes = 150;
  limits.max_header_bytes = 200;
  const TensorMeta full{"", DType::kUint8, {100}, 100}, half{"", DType::kUint8, {50}, 50},
      empty{"", DType::kUint8, {0}, 0};
  const auto decode = [&](std::vector<TensorMeta> tensors) {
    PeerHeader header;
    header.tensors.assign(tensors.begin(), tensors.end());
    return Decoded(Encoded(header), limits).status();
  };
  EXPECT_TRUE(decode({full, half}).ok());
  EXPECT_FALSE(decode({full, full}).ok());
  EXPECT_FALSE(decode({empty, empty, empty}).ok());
  EXPECT_FALSE(decode({{"", DType::kUint8, {101}, 101}}).ok());
  EXPECT_TRUE(decode({{"", DType::kUint8, {1, 1, 1}, 1}}).ok());
  EXPECT_FALSE(decode({{"", DType::kUint8, {1, 1, 1, 1}, 1}}).ok());
  EXPECT_FALSE(decode({{std::string(201, 'n'), DType::kUint8, {0}, 0}}).ok());
}

TEST(PeerHeaderTest, DigestOfAnotherLengthIsRefused) {
  PeerHeader header;
  header.digest = "short";
  EXPECT_FALSE(Decoded(Encoded(header)).ok());
  header.digest = "";
  header.served.push_back({"x", 1, "short"});
  EXPECT_FALSE(Decoded(Encoded(header)).ok());
}

TEST(PeerHeaderTest, TruncatedHeadersAreRefusedOrWhole) {
  ProtoHeaders headers(4);
  for (int i = 0; i < 50; ++i) {
    const std::string bytes = headers.Random()->SerializeAsString();
    for (size_t size = 0; size < bytes.size(); ++size) {
      // A copy of its own on the heap: a sanitizer sees any read behind its end.
      const std::vector<char> cut(bytes.begin(), bytes.begin() + static_cast<long>(size));
      const auto header = Decoded({cut.data(), cut.size()});
      if (!header.ok()) continue;
      EXPECT_LE(Encoded(*header).size(), size);
    }
  }
}

TEST(PeerHeaderTest, MutatedHeadersAreRefusedOrConsistent) {
  ProtoHeaders headers(5);
  std::mt19937 random(6);
  int taken = 0;
  for (int i = 0; i < kRandomHeaders; ++i) {
    std::string bytes = headers.Random()->SerializeAsString();
    for (uint32_t flips = 1 + random() % 4; flips > 0; --flips)
      bytes[random() % bytes.size()] ^= static_cast<char>(1 << random() % 8);
    const auto header = Decoded(bytes);
    if (!header.ok()) {
      EXPECT_EQ(header.status().code(), absl::StatusCode::kInvalidArgument);
      continue;
    }
    ++taken;
    const std::string again = Encoded(*header);
    const auto twice = Decoded(again);
    ASSERT_TRUE(twice.ok()) << twice.status();
    ASSERT_EQ(Encoded(*twice), again);
  }
  EXPECT_GT(taken, kRandomHeaders / 20) << "the test would prove nothing";
}

TEST(PeerHeaderTest, NoiseIsRefused) {
  std::mt19937 random(7);
  for (int i = 0; i < kRandomHeaders; ++i) {
    std::string bytes(random() % 64, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    Decoded(bytes).IgnoreError();
  }
  EXPECT_FALSE(Decoded("GET / HTTP/1.1\r\n\r\n").ok());
}

TEST(PeerHeaderTest, UnsendableMessagesAreNamed) {
  PeerLimits limits;
  limits.max_tensors = 1;
  limits.max_frame_bytes = 10;
  const Tensor small = Tensor::Allocate(DType::kUint8, {10}), large = Tensor::Allocate(DType::kUint8, {11});
  const std::vector<Tensor> two = {small, small};
  PeerHeader header;
  EXPECT_TRUE(CheckSendable("call", header, {&small, 1}, limits).ok());
  EXPECT_EQ(CheckSendable("call", header, {&large, 1}, limits).message(),
            "call: got a tensor of 11 bytes, want at most 10");
  EXPECT_EQ(CheckSendable("call", header, two, limits).message(), "call: got 2 tensors, want at most 1");
  const Tensor none;
  EXPECT_FALSE(CheckSendable("call", header, {&none, 1}, limits).ok());
  header.tensors.resize(2);
  EXPECT_FALSE(CheckSendable("call", header, {&small, 1}, limits).ok());
}

}  // namespace
}  // namespace portico
