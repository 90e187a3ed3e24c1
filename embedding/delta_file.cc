#include "embedding/delta_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/wire.h"
#include "embedding/crc32c.h"

namespace portico {
namespace delta_format {
namespace {

enum DirectoryField : uint32_t {
  kShard = 1,
  kShards = 2,
  kBase = 3,
  kState = 4,
  kVersion = 5,
  kTable = 6,
  kBodyBytes = 7,
  kChecksums = 8
};
enum TableField : uint32_t {
  kName = 1,
  kDim = 2,
  kRowType = 3,
  kIdKindField = 4,
  kSeed = 5,
  kRowsBefore = 6,
  kRowsAfter = 7,
  kRows = 8,
  kRowsOffset = 9,
  kStringsOffset = 10,
  kStringsBytes = 11
};

absl::Status Wrong(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("directory: ", what, "; apply the update again"));
}

std::string EncodeTable(const TablePlace& table) {
  std::string bytes;
  WireWriter out(&bytes);
  out.Bytes(kName, table.spec.name);
  out.Varint(kDim, table.spec.dim);
  out.Varint(kRowType, static_cast<uint64_t>(table.spec.row_type));
  out.Varint(kIdKindField, static_cast<uint64_t>(table.spec.id_kind));
  out.Fixed64(kSeed, table.spec.seed);
  out.Varint(kRowsBefore, table.rows_before);
  out.Varint(kRowsAfter, table.rows_after);
  out.Varint(kRows, table.rows);
  out.Varint(kRowsOffset, table.rows_offset);
  out.Varint(kStringsOffset, table.strings_offset);
  out.Varint(kStringsBytes, table.strings_bytes);
  return bytes;
}

absl::StatusOr<TablePlace> DecodeTable(absl::string_view bytes) {
  TablePlace table;
  uint64_t row_type = 0, id_kind = 0;
  WireReader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case kName:
        table.spec.name = std::string(in.Bytes());
        break;
      case kDim:
        table.spec.dim = in.Varint();
        break;
      case kRowType:
        row_type = in.Varint();
        break;
      case kIdKindField:
        id_kind = in.Varint();
        break;
      case kSeed:
        table.spec.seed = in.Fixed64();
        break;
      case kRowsBefore:
        table.rows_before = in.Varint();
        break;
      case kRowsAfter:
        table.rows_after = in.Varint();
        break;
      case kRows:
        table.rows = in.Varint();
        break;
      case kRowsOffset:
        table.rows_offset = in.Varint();
        break;
      case kStringsOffset:
        table.strings_offset = in.Varint();
        break;
      case kStringsBytes:
        table.strings_bytes = in.Varint();
        break;
      default:
        break;
    }
  }
  if (in.failed())
    return Wrong(
        absl::StrCat("got a table of ", bytes.size(), " bytes that is cut short or damaged, want a whole one"));
  if (row_type >= kRowTypes || id_kind >= kIdKinds) {
    return Wrong(absl::StrCat("table '", table.spec.name, "': got row type ", row_type, ", ids ", id_kind,
                              ", which this version of Portico does not know"));
  }
  table.spec.row_type = static_cast<RowType>(row_type);
  table.spec.id_kind = static_cast<IdKind>(id_kind);
  RETURN_IF_ERROR(table.spec.Validate());
  return table;
}

absl::Status CheckTable(const TablePlace& table, uint64_t body) {
  const uint64_t stride = UpdatedRow::Stride(table.spec);
  if (table.rows_offset > body || table.rows > (body - table.rows_offset) / stride || table.strings_offset > body ||
      table.strings_bytes > body - table.strings_offset) {
    return Wrong(absl::StrCat("table '", table.spec.name, "': got ", table.rows, " rows of ", stride, " bytes at ",
                              table.rows_offset, " and ", table.strings_bytes, " bytes of ids at ",
                              table.strings_offset, ", want them in ", body, " bytes"));
  }
  if (table.rows_after < table.rows_before || table.rows_after > kMaxTableRows) {
    return Wrong(absl::StrCat("table '", table.spec.name, "': got ", table.rows_after, " rows behind ",
                              table.rows_before, ", want no fewer and at most ", kMaxTableRows));
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeDirectory(const Directory& directory) {
  std::string bytes;
  WireWriter out(&bytes);
  out.Varint(kShard, directory.target.shard);
  out.Varint(kShards, directory.target.shards);
  out.Bytes(kBase, directory.target.base.View());
  out.Bytes(kState, directory.target.state.View());
  out.Int(kVersion, directory.target.version);
  for (const TablePlace& table : directory.tables) out.Bytes(kTable, EncodeTable(table));
  out.Varint(kBodyBytes, directory.body_bytes);
  out.Bytes(kChecksums,
            {reinterpret_cast<const char*>(directory.checksums.data()), directory.checksums.size() * sizeof(uint32_t)});
  return bytes;
}

absl::StatusOr<Directory> DecodeDirectory(absl::string_view bytes) {
  Directory directory;
  absl::string_view sums;
  WireReader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case kShard:
        directory.target.shard = static_cast<uint32_t>(in.Varint());
        break;
      case kShards:
        directory.target.shards = static_cast<uint32_t>(in.Varint());
        break;
      case kBase: {
        ASSIGN_OR_RETURN(directory.target.base, Digest::FromBytes(in.Bytes()));
        break;
      }
      case kState: {
        ASSIGN_OR_RETURN(directory.target.state, Digest::FromBytes(in.Bytes()));
        break;
      }
      case kVersion:
        directory.target.version = in.Int();
        break;
      case kTable: {
        ASSIGN_OR_RETURN(directory.tables.emplace_back(), DecodeTable(in.Bytes()));
        break;
      }
      case kBodyBytes:
        directory.body_bytes = in.Varint();
        break;
      case kChecksums:
        sums = in.Bytes();
        break;
      default:
        break;
    }
  }
  const uint64_t body = directory.body_bytes;
  const uint64_t blocks = body / kBlockBytes + (body % kBlockBytes != 0 ? 1 : 0);
  if (in.failed() || sums.size() % sizeof(uint32_t) != 0 || sums.size() / sizeof(uint32_t) != blocks) {
    return Wrong(absl::StrCat("got ", sums.size(), " bytes of checksums for ", body, " bytes of rows, want ",
                              blocks * sizeof(uint32_t), in.failed() ? " in a directory that is whole" : ""));
  }
  directory.checksums.resize(sums.size() / sizeof(uint32_t));
  if (!sums.empty()) std::memcpy(directory.checksums.data(), sums.data(), sums.size());
  absl::flat_hash_set<absl::string_view> names;
  uint64_t left = body;
  for (const TablePlace& table : directory.tables) {
    RETURN_IF_ERROR(CheckTable(table, body));
    if (!names.insert(table.spec.name).second) return Wrong(absl::StrCat("got table '", table.spec.name, "' twice"));
    // Each is in the body: the sum can't overflow.
    const uint64_t bytes = table.rows * UpdatedRow::Stride(table.spec) + table.strings_bytes;
    if (bytes > left) {
      return Wrong(absl::StrCat("table '", table.spec.name, "': got ", bytes, " bytes, want at most the ", left, " of ",
                                body, " that other tables leave"));
    }
    left -= bytes;
  }
  return directory;
}

}  // namespace delta_format

namespace {

using delta_format::TablePlace;

/// A row is what rows of its table can be, so that readers need ask nothing.
absl::Status CheckRow(const TableSpec& spec, const char* row, const RowChunk& chunk, uint64_t rows_after) {
  const auto wrong = [&](const auto&... parts) {
    return absl::DataLossError(absl::StrCat("table '", spec.name, "': ", parts...));
  };
  if (spec.id_kind == IdKind::kDense) {
    if (UpdatedRow::Until(row) != UpdatedRow::kForever) return wrong("got a dense row that ends, want none");
    if (UpdatedRow::Id(row) >= rows_after)
      return wrong("got row ", UpdatedRow::Id(row), ", want less than ", rows_after);
  }
  if (spec.id_kind != IdKind::kString) return absl::OkStatus();
  const uint64_t offset = UpdatedRow::Place(row) >> 16, length = UpdatedRow::Place(row) & 0xffff;
  if (length < 1 || length > kMaxIdBytes || offset > chunk.strings.size() || length > chunk.strings.size() - offset)
    return wrong("got an id of ", length, " bytes at ", offset, ", want 1 to ", kMaxIdBytes, " that are there");
  if (HashId(chunk.StringOf(row), spec.seed) != UpdatedRow::Id(row))
    return wrong("got another hash for id '", chunk.StringOf(row), "' than its own");
  return absl::OkStatus();
}

/// Moves the bytes of the chunk's string ids to where the chunk has them.
/// `left`: of the bytes, how many no id has yet; each has its own.
absl::Status TakeStrings(const TableSpec& spec, absl::string_view strings, uint64_t& left, RowChunk& chunk) {
  for (uint32_t i = 0; i < chunk.count; ++i) {
    char* const row = chunk.rows.get() + i * chunk.stride;
    const uint64_t offset = UpdatedRow::Place(row) >> 16, length = UpdatedRow::Place(row) & 0xffff;
    if (length < 1 || length > kMaxIdBytes || length > left || offset > strings.size() ||
        length > strings.size() - offset) {
      return absl::DataLossError(absl::StrCat("table '", spec.name, "': got an id of ", length, " bytes at ", offset,
                                              ", want 1 to ", kMaxIdBytes, " in ", strings.size(),
                                              " bytes, of which each id has its own"));
    }
    left -= length;
    const uint64_t place = StringPlace(chunk.strings.size(), length);
    std::memcpy(row + 2 * sizeof(place), &place, sizeof(place));
    chunk.strings.append(strings.data() + offset, length);
  }
  return absl::OkStatus();
}

absl::StatusOr<DeltaFile::Table> TakeTable(const TablePlace& place, absl::string_view body) {
  DeltaFile::Table table;
  table.spec = place.spec;
  table.rows_before = place.rows_before;
  table.rows_after = place.rows_after;
  table.rows = place.rows;
  const size_t stride = UpdatedRow::Stride(place.spec);
  const absl::string_view rows = body.substr(place.rows_offset, place.rows * stride);
  const absl::string_view strings = body.substr(place.strings_offset, place.strings_bytes);
  uint64_t appended = 0, strings_left = strings.size();
  for (uint64_t first = 0; first < place.rows; first += RowChunk::kMaxRows) {
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(RowChunk::kMaxRows, place.rows - first));
    auto chunk = std::make_shared<RowChunk>(stride, count);
    std::memcpy(chunk->rows.get(), rows.data() + first * stride, count * stride);
    if (place.spec.id_kind == IdKind::kString) RETURN_IF_ERROR(TakeStrings(place.spec, strings, strings_left, *chunk));
    for (uint32_t i = 0; i < count; ++i) {
      RETURN_IF_ERROR(CheckRow(place.spec, chunk->Row(i), *chunk, place.rows_after));
      appended += UpdatedRow::Id(chunk->Row(i)) >= place.rows_before ? 1 : 0;
    }
    table.chunks.push_back(std::move(chunk));
  }
  if (place.spec.id_kind == IdKind::kDense && appended != place.rows_after - place.rows_before) {
    return absl::DataLossError(absl::StrCat("table '", place.spec.name, "': got ", appended, " rows behind row ",
                                            place.rows_before, ", want ", place.rows_after - place.rows_before));
  }
  return table;
}

std::string NameOf(const delta_format::Directory& directory, uint64_t offset) {
  for (const TablePlace& table : directory.tables) {
    if (offset >= table.rows_offset && offset - table.rows_offset < table.rows * UpdatedRow::Stride(table.spec))
      return absl::StrCat("rows of table '", table.spec.name, "'");
    if (offset >= table.strings_offset && offset - table.strings_offset < table.strings_bytes)
      return absl::StrCat("string ids of table '", table.spec.name, "'");
  }
  return "no table";
}

absl::StatusOr<DeltaFile> Parse(absl::string_view file, const Digest& digest) {
  using namespace delta_format;
  if (file.size() < kHeadBytes + sizeof(Trailer) || file.substr(0, kMagic.size()) != kMagic)
    return absl::InvalidArgumentError("got no delta file, want what 'portico table apply' writes");
  const auto bad = [](const auto&... parts) {
    return absl::DataLossError(absl::StrCat(parts..., "; restore the file"));
  };
  const auto check_crc = [&](absl::string_view what, uint32_t got, uint32_t want) {
    return got == want ? absl::OkStatus()
                       : bad(what, ": got CRC-32C ", absl::Hex(got, absl::kZeroPad8), ", want ",
                             absl::Hex(want, absl::kZeroPad8));
  };
  uint32_t format[2];
  std::memcpy(format, file.data() + kMagic.size(), sizeof(format));
  if (format[0] != kFormat || format[1] != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("got format ", format[0], ", want ", kFormat, "; a newer Portico reads it"));
  }
  Trailer trailer;
  std::memcpy(&trailer, file.data() + file.size() - sizeof(trailer), sizeof(trailer));
  const uint32_t want = std::exchange(trailer.crc, 0);
  const uint32_t got = Crc32c({reinterpret_cast<const char*>(&trailer), sizeof(trailer)});
  if (absl::string_view(trailer.magic, sizeof(trailer.magic)) != kMagic || got != want)
    return bad("trailer: got other bytes than were written, of ", file.size(), " in the file (cut short?)");
  if (trailer.file_bytes != file.size()) return bad("got ", file.size(), " bytes, want ", trailer.file_bytes);
  const uint64_t inner = file.size() - kHeadBytes - sizeof(trailer);
  if (trailer.directory_bytes > std::min(inner, kMaxDirectoryBytes))
    return bad("got a directory of ", trailer.directory_bytes, " bytes, want at most ",
               std::min(inner, kMaxDirectoryBytes));
  const absl::string_view body = file.substr(kHeadBytes, inner - trailer.directory_bytes);
  const absl::string_view bytes = file.substr(kHeadBytes + body.size(), trailer.directory_bytes);
  RETURN_IF_ERROR(check_crc("directory", Crc32c(bytes), trailer.directory_crc));
  ASSIGN_OR_RETURN(const Directory directory, DecodeDirectory(bytes));
  if (directory.body_bytes != body.size())
    return bad("got ", body.size(), " bytes of rows, want ", directory.body_bytes);
  for (uint64_t at = 0; at < body.size(); at += kBlockBytes) {
    const absl::string_view block = body.substr(at, kBlockBytes);
    const uint64_t from = kHeadBytes + at;
    RETURN_IF_ERROR(check_crc(absl::StrCat("block ", at / kBlockBytes, " (", NameOf(directory, at), ", bytes ", from,
                                           " to ", from + block.size(), ")"),
                              Crc32c(block), directory.checksums[at / kBlockBytes]));
  }
  DeltaFile delta;
  delta.target = directory.target;
  delta.digest = digest;
  for (const TablePlace& place : directory.tables) {
    ASSIGN_OR_RETURN(delta.tables.emplace_back(), TakeTable(place, body));
  }
  return delta;
}

absl::Status CheckSame(const std::string& path, const Digest& got, const Digest& want) {
  if (got == want) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("delta '", path, "': got digest ", got.Short(), ", want ", want.Short(),
                                          " as the package says; restore the file, or apply the update again"));
}

}  // namespace

Digest StateDigest(const Digest& base, absl::Span<const Digest> deltas) {
  Hasher hasher;
  hasher.Add(base);
  for (const Digest& delta : deltas) hasher.Add(delta);
  return hasher.Finish();
}

absl::StatusOr<DeltaFile> DeltaFile::Read(const std::string& path, const Digest* want) {
  ASSIGN_OR_RETURN(const std::string file, ReadFile(path, kMaxBytes));
  const Digest digest = Sha256(file);
  if (want != nullptr) RETURN_IF_ERROR(CheckSame(path, digest, *want));
  absl::StatusOr<DeltaFile> delta = Parse(file, digest);
  if (!delta.ok()) return WithContext(absl::StrCat("delta '", path, "'"), delta.status());
  return delta;
}

absl::Status DeltaFile::CheckDigest(const std::string& path, const Digest& want) {
  ASSIGN_OR_RETURN(const std::string file, ReadFile(path, kMaxBytes));
  return CheckSame(path, Sha256(file), want);
}

absl::StatusOr<std::vector<DeltaFile::Table>> DeltaFile::ReadTables(const std::string& path) {
  using delta_format::Trailer;
  const auto bad = [&path](absl::string_view what) {
    return absl::DataLossError(absl::StrCat("delta '", path, "': ", what, "; restore the file"));
  };
  std::ifstream file(path, std::ios::binary);
  if (!file) return ErrnoStatus(errno, "open delta", path);
  Trailer trailer;
  file.seekg(-static_cast<std::streamoff>(sizeof(trailer)), std::ios::end);
  const auto behind = static_cast<uint64_t>(std::max<std::streamoff>(0, file.tellg()));
  if (!file.read(reinterpret_cast<char*>(&trailer), sizeof(trailer)))
    return bad(absl::StrCat("got ", behind, " bytes, want at least the ", sizeof(trailer), " of a trailer"));
  if (trailer.file_bytes != behind + sizeof(trailer) ||
      trailer.directory_bytes > std::min(behind, delta_format::kMaxDirectoryBytes)) {
    return bad(absl::StrCat("trailer: got ", trailer.file_bytes, " bytes with a directory of ", trailer.directory_bytes,
                            ", want ", behind + sizeof(trailer), " as the file has"));
  }
  std::string directory(trailer.directory_bytes, '\0');
  file.seekg(static_cast<std::streamoff>(behind - trailer.directory_bytes));
  if (!file.read(directory.data(), static_cast<std::streamsize>(directory.size())))
    return ErrnoStatus(errno, "read delta", path);
  if (const uint32_t crc = Crc32c(directory); crc != trailer.directory_crc) {
    return bad(absl::StrCat("directory: got CRC-32C ", absl::Hex(crc, absl::kZeroPad8), ", want ",
                            absl::Hex(trailer.directory_crc, absl::kZeroPad8)));
  }
  ASSIGN_OR_RETURN(const delta_format::Directory decoded, delta_format::DecodeDirectory(directory));
  std::vector<Table> tables;
  for (const TablePlace& place : decoded.tables) {
    Table& table = tables.emplace_back();
    table.spec = place.spec;
    table.rows_before = place.rows_before;
    table.rows_after = place.rows_after;
    table.rows = place.rows;
  }
  return tables;
}

absl::Status DeltaFile::CheckFits(const std::string& path, const ShardLayout& layout, const Digest& state) const {
  const auto wrong = [&path](const auto&... parts) {
    return absl::FailedPreconditionError(absl::StrCat("delta '", path, "': ", parts...));
  };
  if (target.shard != layout.shard || target.shards != layout.shards) {
    return wrong("got one for shard ", target.shard, " of ", target.shards, ", want shard ", layout.shard, " of ",
                 layout.shards);
  }
  if (target.base != layout.content) {
    return wrong("got one for base ", target.base.Short(), ", want ", layout.content.Short(), ", which is served");
  }
  if (target.state != state) {
    return wrong("got one for version ", target.version, " (state ", target.state.Short(), "), want one for state ",
                 state.Short(), "; apply it to the version that it was made for");
  }
  for (const Table& table : tables) {
    const auto at = std::find_if(layout.tables.begin(), layout.tables.end(),
                                 [&](const ShardLayout::Table& other) { return other.spec.name == table.spec.name; });
    if (at == layout.tables.end()) return wrong("got table '", table.spec.name, "', which the shard does not have");
    const TableSpec& want = at->spec;
    if (want.dim != table.spec.dim || want.row_type != table.spec.row_type || want.id_kind != table.spec.id_kind ||
        want.seed != table.spec.seed) {
      return wrong("table '", want.name, "': got ", IdKindName(table.spec.id_kind), " ids, ",
                   RowTypeName(table.spec.row_type), ", dim ", table.spec.dim, ", want ", IdKindName(want.id_kind),
                   " ids, ", RowTypeName(want.row_type), ", dim ", want.dim, " of the same seed");
    }
  }
  return absl::OkStatus();
}

}  // namespace portico
