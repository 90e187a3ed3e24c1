#include "base/wire.h"

#include <cstring>

namespace portico {

bool ConsumeVarint(absl::string_view* bytes, uint64_t* value) {
  uint64_t result = 0;
  for (size_t i = 0; i < bytes->size() && i < 10; ++i) {
    const auto byte = static_cast<uint8_t>((*bytes)[i]);
    if (i == 9 && byte > 1) return false;
    result |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      bytes->remove_prefix(i + 1);
      *value = result;
      return true;
    }
  }
  return false;
}

bool WireReader::ReadVarint(uint64_t* value) {
  if (at_ < end_ && static_cast<uint8_t>(*at_) < 0x80) {
    *value = static_cast<uint8_t>(*at_++);
    return true;
  }
  absl::string_view left(at_, static_cast<size_t>(end_ - at_));
  if (!ConsumeVarint(&left, value)) return false;
  at_ = left.data();
  return true;
}

bool WireReader::Next() {
  if (pending_) Skip();
  if (failed_ || at_ == end_) return false;
  uint64_t tag = 0;
  // Field numbers end at 2^29 − 1; groups are of no use to our peers and refused.
  if (!ReadVarint(&tag) || tag >> 32 != 0 || tag >> 3 == 0) {
    Fail();
    return false;
  }
  const uint32_t type = tag & 7;
  if (type == 3 || type == 4 || type > 5) {
    Fail();
    return false;
  }
  field_ = static_cast<uint32_t>(tag >> 3);
  type_ = static_cast<Type>(type);
  pending_ = true;
  return true;
}

void WireReader::Skip() {
  switch (type_) {
    case Type::kVarint:
      Varint();
      break;
    case Type::kFixed64:
      Fixed64();
      break;
    case Type::kBytes:
      Bytes();
      break;
    case Type::kFixed32:
      Fixed32();
      break;
    default:
      Fail();
      break;
  }
}

uint64_t WireReader::Varint() {
  uint64_t value = 0;
  if (!pending_ || type_ != Type::kVarint || !ReadVarint(&value)) {
    Fail();
    return 0;
  }
  pending_ = false;
  return value;
}

uint64_t WireReader::Fixed64() {
  uint64_t value = 0;
  if (!pending_ || type_ != Type::kFixed64 || end_ - at_ < 8) {
    Fail();
    return 0;
  }
  std::memcpy(&value, at_, 8);
  at_ += 8;
  pending_ = false;
  return value;
}

uint32_t WireReader::Fixed32() {
  uint32_t value = 0;
  if (!pending_ || type_ != Type::kFixed32 || end_ - at_ < 4) {
    Fail();
    return 0;
  }
  std::memcpy(&value, at_, 4);
  at_ += 4;
  pending_ = false;
  return value;
}

float WireReader::Float() {
  const uint32_t bits = Fixed32();
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

double WireReader::Double() {
  const uint64_t bits = Fixed64();
  double value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

absl::string_view WireReader::Bytes() {
  uint64_t length = 0;
  if (!pending_ || type_ != Type::kBytes || !ReadVarint(&length) || length > static_cast<uint64_t>(end_ - at_)) {
    Fail();
    return {};
  }
  const absl::string_view bytes(at_, static_cast<size_t>(length));
  at_ += length;
  pending_ = false;
  return bytes;
}

void WireWriter::RawVarint(uint64_t value) {
  char buffer[10];
  size_t size = 0;
  while (value >= 0x80) {
    buffer[size++] = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  buffer[size++] = static_cast<char>(value);
  out_->append(buffer, size);
}

void WireWriter::Varint(uint32_t field, uint64_t value) {
  RawVarint(uint64_t{field} << 3);
  RawVarint(value);
}

void WireWriter::Fixed64(uint32_t field, uint64_t value) {
  RawVarint(uint64_t{field} << 3 | 1);
  out_->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void WireWriter::Fixed32(uint32_t field, uint32_t value) {
  RawVarint(uint64_t{field} << 3 | 5);
  out_->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void WireWriter::BytesHeader(uint32_t field, uint64_t length) {
  RawVarint(uint64_t{field} << 3 | 2);
  RawVarint(length);
}

void WireWriter::Bytes(uint32_t field, absl::string_view value) {
  BytesHeader(field, value.size());
  out_->append(value.data(), value.size());
}

}  // namespace portico
