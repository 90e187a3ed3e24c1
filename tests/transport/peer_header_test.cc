#include "transport/peer_header.h"

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "peer.pb.h"

namespace portico {
namespace {

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

/// Random headers as protobuf messages, each field set about half of the time, to extremes now and then.
class RandomHeader {
 public:
  explicit RandomHeader(uint32_t seed) : random_(seed) {}

  Header Make() {
    Header h;
    h.set_protocol(1);
    h.set_kind(static_cast<Header::Kind>(random_() % 6));
    if (Coin()) h.set_call_id(Number());
    if (Coin()) h.set_servable(Text());
    if (Coin()) h.set_version(static_cast<int64_t>(Number() >> 1));
    if (Coin()) h.set_digest(std::string(32, static_cast<char>(random_())));
    if (Coin()) h.set_revision(Number());
    if (Coin()) h.set_map_epoch(Number());
    if (Coin()) h.set_signature(Text());
    if (Coin()) h.set_timeout_us(Number());
    if (Coin()) h.set_trace_id_high(Number());
    if (Coin()) h.set_trace_id_low(Number());
    if (Coin()) h.set_parent_span_id(Number());
    h.set_sampled(Coin());
    if (Coin()) h.set_tenant(Text());
    if (Coin()) h.set_product(Text());
    if (Coin()) h.set_priority(static_cast<int32_t>(Number()));
    if (Coin()) h.set_hop(static_cast<uint32_t>(Number()));
    if (Coin()) h.set_attempt(static_cast<uint32_t>(Number()));
    for (uint32_t i = random_() % 4; i > 0; --i) AddTensor(h.add_tensors());
    if (Coin()) h.set_code(static_cast<uint32_t>(Number()));
    if (Coin()) h.set_message(Text());
    for (uint32_t i = random_() % 3; i > 0; --i) {
      auto* row = h.add_row_status();
      row->set_row(Number());
      row->set_code(static_cast<uint32_t>(Number()));
      row->set_message(Text());
    }
    for (uint32_t i = random_() % 3; i > 0; --i) h.add_notes(Text());
    for (uint32_t i = random_() % 3; i > 0; --i) {
      auto* span = h.add_spans();
      span->set_span_id(Number());
      span->set_parent_span_id(Number());
      span->set_name(Text());
      span->set_node(Text());
      span->set_start_us(static_cast<int64_t>(Number()));
      span->set_duration_ns(Number());
    }
    if (Coin()) h.set_incarnation(Number());
    if (Coin()) h.set_node(Text());
    for (uint32_t i = random_() % 3; i > 0; --i) {
      auto* served = h.add_served();
      served->set_name(Text());
      served->set_version(static_cast<int64_t>(Number()));
      if (Coin()) served->set_digest(std::string(32, 'd'));
    }
    return h;
  }

 private:
  bool Coin() { return random_() % 2 == 0; }
  uint64_t Number() {
    const uint64_t wide = static_cast<uint64_t>(random_()) << 32 | random_();
    return random_() % 8 == 0 ? ~uint64_t{0} : wide >> (random_() % 64);
  }
  std::string Text() { return std::string(random_() % (Coin() ? 8 : 200), static_cast<char>('a' + random_() % 26)); }
  void AddTensor(TensorMeta_* unused);
  void AddTensor(::portico::TensorMeta* tensor);

  std::mt19937 random_;
};

}  // namespace
}  // namespace portico
