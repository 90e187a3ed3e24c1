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

template <typename T>
void Append(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
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

void AppendTfRecord(absl::string_view record, std::string* file) {
  std::string length;
  Append<uint64_t>(record.size(), &length);
  file->append(length);
  Append<uint32_t>(Masked(length), file);
  file->append(record.data(), record.size());
  Append<uint32_t>(Masked(record), file);
}

}  // namespace portico
