#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "embedding/bucket_index.h"
#include "embedding/build_checkpoint.h"
#include "embedding/delta_writer.h"
#include "embedding/shard_layout.h"
#include "tests/embedding/lookup_builder.h"
#include "tests/embedding/shard_builder.h"
#include "tests/fuzz/corpus.h"

namespace portico {
namespace {

void MakeShardDirectory(const std::string& folder) {
  Corpus corpus(folder, "shard_directory");
  constexpr uint64_t kMegabyte = 1 << 20;
  ShardLayout layout;
  layout.checksums = {4 * kMegabyte, ShardLayout::kBlockBytes};
  layout.roots = {0};
  corpus.Add(EncodeDirectory(layout));
  for (const IdKind kind : {IdKind::kDense, IdKind::kSparse, IdKind::kString}) {
    ShardLayout::Table table;
    table.spec.name = absl::StrCat("table", layout.tables.size());
    table.spec.dim = 8;
    table.spec.row_type = kind == IdKind::kSparse ? RowType::kInt8 : RowType::kFloat32;
    table.spec.id_kind = kind;
    table.spec.unknown = UnknownId::kDefaultRow;
    table.spec.default_row.assign(8, 0.5f);
    table.row_count = 5;
    table.stride = RowStride(table.spec);
    table.rows = {2 * kMegabyte, table.row_count * table.stride};
    if (kind != IdKind::kDense) table.index = {2 * kMegabyte, sizeof(IndexBucket)};
    if (kind == IdKind::kString) table.strings = {2 * kMegabyte, 100};
    layout.tables.push_back(table);
    corpus.Add(EncodeDirectory(layout));
  }
}

void MakeDeltaFile(const std::string& folder) {
  Corpus corpus(folder, "delta_file");
  const std::string path = absl::StrCat(folder, "/delta");
  for (const IdKind kind : {IdKind::kDense, IdKind::kSparse, IdKind::kString}) {
    const TableSpec spec{.name = "t",
                         .dim = 3,
                         .row_type = kind == IdKind::kSparse ? RowType::kInt8 : RowType::kFloat32,
                         .id_kind = kind};
    auto writer = DeltaWriter::Create(path, {.shards = 2, .version = 3});
    FuzzCheckOk(writer.status(), "a delta is begun");
    FuzzCheckOk((*writer)->BeginTable(spec, 2), "a table is begun");
    for (int64_t i = 1; i < 4; ++i) {
      const std::string text = absl::StrCat("id", i);
      FuzzCheckOk((*writer)->Upsert({.number = i, .string = text}, {1, 2, 3}), "a row is added");
    }
    if (kind != IdKind::kDense) FuzzCheckOk((*writer)->Delete({.number = 9, .string = "id9"}), "a row is deleted");
    FuzzCheckOk((*writer)->EndTable(), "a table is ended");
    FuzzCheckOk((*writer)->Commit(), "a delta is written");
    const auto file = ReadFile(path, 1 << 20);
    FuzzCheckOk(file.status(), "a delta is read");
    delta_format::Trailer trailer;
    std::memcpy(&trailer, file->data() + file->size() - sizeof(trailer), sizeof(trailer));
    const size_t body = file->size() - delta_format::kHeadBytes - trailer.directory_bytes - sizeof(trailer);
    const absl::string_view inner = absl::string_view(*file).substr(delta_format::kHeadBytes);
    std::string seed;
    seed.push_back(static_cast<char>(trailer.directory_bytes & 0xff));
    seed.push_back(static_cast<char>(trailer.directory_bytes >> 8));
    corpus.Add(absl::StrCat(seed, inner.substr(body, trailer.directory_bytes), inner.substr(0, body)));
  }
  std::filesystem::remove(path);
}

/// As the fuzzer reads it: of each input the bytes, behind their number in 16 bits.
void AppendInput(absl::string_view bytes, std::string* seed) {
  seed->push_back(static_cast<char>(bytes.size() & 0xff));
  seed->push_back(static_cast<char>(bytes.size() >> 8));
  absl::StrAppend(seed, bytes);
}

void MakeLookupCall(const std::string& folder) {
  Corpus corpus(folder, "lookup_call");
  const auto add = [&](const LookupBuilder& call) {
    const std::vector<Tensor> inputs = call.Build();
    std::string seed;
    AppendInput(absl::StrJoin(call.tables, absl::string_view("\0", 1)), &seed);
    AppendInput(inputs[LookupCall::kEntries].bytes(), &seed);
    AppendInput(inputs[LookupCall::kIds].bytes(), &seed);
    AppendInput(absl::StrJoin(call.strings, absl::string_view("\0", 1)), &seed);
    AppendInput(inputs[LookupCall::kLengths].bytes(), &seed);
    AppendInput(inputs[LookupCall::kWeights].bytes(), &seed);
    corpus.Add(seed);
  };
  add(LookupBuilder());
  add(LookupBuilder().Add("t0", {.ids = {1, 2, 3}, .lengths = {1, 2}}));
  add(LookupBuilder().Add("t4", {.ids = {1, 2, 3}, .lengths = {3, 0}, .weights = {1, 0.5f, -1}}));
  LookupBuilder mixed;
  mixed.AddRows("t8", std::vector<std::string>{StringId(1), "nobody"}).AddRows("t3", std::vector<int64_t>{49, 50});
  mixed.Add("t5", {.strings = {StringId(3)}, .lengths = {1}}).Add("t6", {.lengths = {0}});
  add(mixed);
}

void MakeBuildCheckpoint(const std::string& folder) {
  Corpus corpus(folder, "build_checkpoint");
  BuildCheckpoint checkpoint;
  for (const uint64_t rows : {uint64_t{0}, uint64_t{5}, kMaxTableRows}) {
    checkpoint.facts.push_back({"--name", absl::StrCat("t", rows)});
    checkpoint.shards.push_back({.rows = rows, .strings_bytes = rows * 7, .checksum = 0x12345678});
    checkpoint.position.rows += rows;
    std::string seed = checkpoint.Encode();
    seed.resize(seed.size() - sizeof(uint32_t));
    corpus.Add(seed);
  }
}

}  // namespace

void MakeTableCorpora(const std::string& folder) {
  MakeShardDirectory(folder);
  MakeDeltaFile(folder);
  MakeLookupCall(folder);
  MakeBuildCheckpoint(folder);
}

}  // namespace portico
