#include "cli/npz.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/npy.h"

namespace portico {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{2} << 30;
constexpr size_t kMaxArrays = 1024;
/// Of the records of a ZIP file: the end, with its comment of at most 64 KiB; an entry of the directory; an entry.
constexpr absl::string_view kEndMagic("PK\5\6", 4), kEntryMagic("PK\1\2", 4), kLocalMagic("PK\3\4", 4);
constexpr size_t kEndBytes = 22, kEntryBytes = 46, kLocalBytes = 30, kMaxComment = 65535;
/// Deflate packs no tighter.
constexpr uint64_t kMaxRatio = 1032;
constexpr uint16_t kStored = 0, kDeflated = 8;

/// Little-endian. REQUIRES: it is there.
template <typename T>
T At(absl::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

absl::Status Error(absl::string_view message) { return absl::InvalidArgumentError(message); }

/// What the directory says of one array.
struct Entry {
  std::string name;
  uint16_t method = 0;
  uint32_t crc = 0;
  uint64_t packed = 0;
  uint64_t unpacked = 0;
  uint64_t offset = 0;
};

/// Reads the entry at `at` and moves on behind it.
absl::StatusOr<Entry> ReadEntry(absl::string_view file, size_t& at) {
  if (at > file.size() || file.size() - at < kEntryBytes || file.substr(at, 4) != kEntryMagic) {
    return Error("got a directory that is cut short, want all of it; save it again");
  }
  Entry entry;
  entry.method = At<uint16_t>(file, at + 10);
  entry.crc = At<uint32_t>(file, at + 16);
  entry.packed = At<uint32_t>(file, at + 20);
  entry.unpacked = At<uint32_t>(file, at + 24);
  entry.offset = At<uint32_t>(file, at + 42);
  const size_t name = At<uint16_t>(file, at + 28);
  const size_t rest = size_t{At<uint16_t>(file, at + 30)} + At<uint16_t>(file, at + 32);
  if (file.size() - at - kEntryBytes < name + rest)
    return Error("got a directory that is cut short, want all of it; save it again");
  absl::string_view text = file.substr(at + kEntryBytes, name);
  absl::ConsumeSuffix(&text, ".npy");
  entry.name = std::string(text);
  at += kEntryBytes + name + rest;
  return entry;
}

absl::StatusOr<std::string> Inflate(absl::string_view packed, uint64_t size) {
  std::string out(size, '\0');
  z_stream stream = {};
  // Without a header of zlib's own.
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return absl::ResourceExhaustedError("got no memory to unpack it");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(size);
  const int end = inflate(&stream, Z_FINISH);
  const bool whole = end == Z_STREAM_END && stream.avail_out == 0;
  inflateEnd(&stream);
  if (!whole) return Error("got compressed data that is damaged, want it whole; save it again");
  return out;
}

absl::StatusOr<Tensor> ReadArray(absl::string_view file, const Entry& entry) {
  if (entry.offset > file.size() || file.size() - entry.offset < kLocalBytes ||
      file.substr(entry.offset, 4) != kLocalMagic) {
    return Error("got no data where the directory says, want it there; save it again");
  }
  const uint64_t begin =
      entry.offset + kLocalBytes + At<uint16_t>(file, entry.offset + 26) + At<uint16_t>(file, entry.offset + 28);
  if (begin > file.size() || file.size() - begin < entry.packed)
    return Error("got data that is cut short, want all of it; save it again");
  const absl::string_view packed = file.substr(begin, entry.packed);
  std::string unpacked;
  absl::string_view bytes = packed;
  if (entry.method == kDeflated) {
    // Before memory is taken for it.
    if (entry.unpacked > entry.packed * kMaxRatio)
      return Error("got compressed data that is damaged, want it whole; save it again");
    ASSIGN_OR_RETURN(unpacked, Inflate(packed, entry.unpacked));
    bytes = unpacked;
  } else if (entry.method != kStored || entry.packed != entry.unpacked) {
    return Error(
        absl::StrCat("got compression ", entry.method, ", want what numpy.savez() and savez_compressed() write"));
  }
  if (crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()) != entry.crc) {
    return Error("got data that is damaged (its checksum is another), want it whole; save it again");
  }
  return ParseNpy(bytes);
}

}  // namespace

absl::StatusOr<std::vector<NamedTensor>> ReadNpz(const std::string& path) {
  ASSIGN_OR_RETURN(const Ref<MappedFile> file, MappedFile::Open(path));
  auto arrays = ParseNpz(file->bytes());
  if (!arrays.ok()) return WithContext(absl::StrCat("array file '", path, "'"), arrays.status());
  return arrays;
}

absl::StatusOr<std::vector<NamedTensor>> ParseNpz(absl::string_view file) {
  if (file.size() > kMaxBytes) return Error(absl::StrCat("got ", file.size(), " bytes, want at most ", kMaxBytes));
  const size_t window = std::min(file.size(), kEndBytes + kMaxComment);
  const size_t end = file.substr(file.size() - window).rfind(kEndMagic);
  if (end == absl::string_view::npos || window - end < kEndBytes) {
    return Error("got no archive of arrays, want what numpy.savez() writes");
  }
  const absl::string_view record = file.substr(file.size() - window + end);
  const size_t count = At<uint16_t>(record, 10);
  size_t at = At<uint32_t>(record, 16);
  if (count > kMaxArrays) return Error(absl::StrCat("got ", count, " arrays, want at most ", kMaxArrays));
  std::vector<NamedTensor> arrays;
  uint64_t left = kMaxBytes;
  for (size_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const Entry entry, ReadEntry(file, at));
    if (entry.unpacked > left) return Error(absl::StrCat("got more than ", kMaxBytes, " bytes unpacked, want less"));
    left -= entry.unpacked;
    absl::StatusOr<Tensor> array = ReadArray(file, entry);
    if (!array.ok()) return WithContext(absl::StrCat("array '", entry.name, "'"), array.status());
    arrays.push_back({entry.name, *std::move(array)});
  }
  return arrays;
}

}  // namespace portico
