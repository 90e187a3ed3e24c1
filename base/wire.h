#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace portico {

/// Reads protobuf's wire format in place, without protobuf: bytes fields come out as views, nothing is allocated and no
/// read passes the end. After malformed input failed() is true and Next() returns false. For one thread.
/// (Format: protobuf.dev/programming-guides/encoding.)
///
///   for (WireReader in(bytes); in.Next();)
///     switch (in.field()) { case 1: name = in.Bytes(); break; case 2: id = in.Varint(); break; default: break; }
///
/// A value that is not read is skipped by the next Next().
class WireReader {
 public:
  enum class Type : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kStartGroup = 3, kEndGroup = 4, kFixed32 = 5 };

  explicit WireReader(absl::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  /// Moves to the next field. False at the end and after an error; failed() tells which.
  bool Next();
  bool failed() const { return failed_; }
  uint32_t field() const { return field_; }
  Type type() const { return type_; }
  bool is(Type type) const { return type_ == type; }

  /// The value of the current field, read once. A type that does not match fails the reader and gives 0 or empty.
  uint64_t Varint();
  int64_t Int() { return static_cast<int64_t>(Varint()); }
  bool Bool() { return Varint() != 0; }
  uint64_t Fixed64();
  uint32_t Fixed32();
  float Float();
  double Double();
  absl::string_view Bytes();

  /// What is left behind the current field.
  absl::string_view rest() const { return {at_, static_cast<size_t>(end_ - at_)}; }

 private:
  bool ReadVarint(uint64_t* value);
  void Fail() {
    failed_ = true;
    at_ = end_;
  }
  void Skip();

  const char* at_;
  const char* end_;
  uint32_t field_ = 0;
  Type type_ = Type::kVarint;
  bool pending_ = false;
  bool failed_ = false;
};

/// Reads one raw varint from the front of `bytes` and removes it: for packed fields. False when malformed.
bool ConsumeVarint(absl::string_view* bytes, uint64_t* value);

/// Appends protobuf's wire format to a string. Fields with default values are for the caller to leave out.
class WireWriter {
 public:
  /// `out` is not owned and must outlive the writer.
  explicit WireWriter(std::string* out) : out_(out) {}

  void Varint(uint32_t field, uint64_t value);
  void Int(uint32_t field, int64_t value) { Varint(field, static_cast<uint64_t>(value)); }
  void Fixed64(uint32_t field, uint64_t value);
  void Fixed32(uint32_t field, uint32_t value);
  void Bytes(uint32_t field, absl::string_view value);
  /// Only the tag and the length of a bytes field; `length` bytes must follow.
  void BytesHeader(uint32_t field, uint64_t length);
  void RawVarint(uint64_t value);

  /// Bytes that RawVarint(value) takes.
  static size_t VarintSize(uint64_t value) { return static_cast<size_t>(1 + (63 - __builtin_clzll(value | 1)) / 7); }

 private:
  std::string* const out_;
};

}  // namespace portico
