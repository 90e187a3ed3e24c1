#include "node/observe/tf_record.h"

#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

constexpr size_t kHeadBytes = 12;
constexpr size_t kTailBytes = 4;

/// CRC-32C (Castagnoli), reflected, by table.
uint32_t Crc32c(absl::string_view bytes) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> made{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78u : 0);
      made[i] = value;
    }
    return made;
  }();
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = (crc >> 8) ^ table[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  return ~crc;
}

/// As the format stores it: rotated and shifted, so that a checksum of checksums is none.
uint32_t Masked(absl::string_view bytes) {
  const uint32_t crc = Crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

template <typename T>
T Read(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

}  // namespace

absl::StatusOr<std::optional<absl::string_view>> TfRecordReader::Next() {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  if (at_ == file_.size()) return std::optional<absl::string_view>();
  const absl::string_view rest = file_.substr(at_);
  if (rest.size() < kHeadBytes || Read<uint32_t>(rest.data() + 8) != Masked(rest.substr(0, 8))) {
    return absl::DataLossError(absl::StrCat("record at byte ", at_, ": got a bad head, want a TFRecord"));
  }
  const auto length = Read<uint64_t>(rest.data());
  if (rest.size() - kHeadBytes < kTailBytes || length > rest.size() - kHeadBytes - kTailBytes) {
    return absl::DataLossError(absl::StrCat("record at byte ", at_, ": got ", rest.size() - kHeadBytes,
                                            " bytes behind its head, want ", length, " and ", kTailBytes));
  }
  const absl::string_view record = rest.substr(kHeadBytes, length);
  if (Read<uint32_t>(record.data() + length) != Masked(record)) {
    return absl::DataLossError(absl::StrCat("record at byte ", at_, ": got bytes of another checksum"));
  }
  at_ += kHeadBytes + length + kTailBytes;
  return std::optional<absl::string_view>(record);
}

TfRecordFrame FrameOfTfRecord(absl::string_view record) {
  TfRecordFrame frame;
  const uint64_t length = record.size();
  std::memcpy(frame.head.data(), &length, sizeof(length));
  const uint32_t head_crc = Masked(absl::string_view(frame.head.data(), sizeof(length)));
  std::memcpy(frame.head.data() + sizeof(length), &head_crc, sizeof(head_crc));
  const uint32_t crc = Masked(record);
  std::memcpy(frame.tail.data(), &crc, sizeof(crc));
  return frame;
}

void AppendTfRecord(absl::string_view record, std::string* file) {
  const TfRecordFrame frame = FrameOfTfRecord(record);
  file->append(frame.head.data(), frame.head.size());
  file->append(record.data(), record.size());
  file->append(frame.tail.data(), frame.tail.size());
}

}  // namespace portico
