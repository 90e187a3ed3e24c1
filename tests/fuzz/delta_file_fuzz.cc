// A delta file with lengths and checksums that fit: what a broken or a hostile writer would leave. Reading it ends in
// an error, or in rows that a version can be made of.

#include "embedding/crc32c.h"
#include "embedding/delta_file.h"
#include "embedding/row_overlay.h"
#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

using delta_format::Directory;
using delta_format::Trailer;

/// Beyond, a body is of zeros that the fuzzer did not choose.
constexpr uint64_t kMostBody = 64 << 10;

/// Input: 16 bits, so many bytes of a directory, the body. Empty: no directory.
std::string Mended(absl::string_view input) {
  const size_t low = TakeByte(&input), high = TakeByte(&input);
  const absl::string_view text = input.substr(0, low | high << 8);
  absl::StatusOr<Directory> directory = delta_format::DecodeDirectory(text);
  if (!directory.ok() || directory->body_bytes > kMostBody) return "";
  std::string body(input.substr(text.size()));
  body.resize(directory->body_bytes);
  for (size_t at = 0; at < body.size(); at += delta_format::kBlockBytes) {
    directory->checksums[at / delta_format::kBlockBytes] =
        Crc32c(absl::string_view(body).substr(at, delta_format::kBlockBytes));
  }
  const std::string written = delta_format::EncodeDirectory(*directory);
  const auto again = delta_format::DecodeDirectory(written);
  FuzzCheckOk(again.status(), "a directory is read again");
  FuzzCheck(delta_format::EncodeDirectory(*again) == written, "and is the same");
  std::string file(delta_format::kMagic);
  const uint32_t format[2] = {delta_format::kFormat, 0};
  file.append(reinterpret_cast<const char*>(format), sizeof(format));
  file.append(body).append(written);
  Trailer trailer;
  trailer.file_bytes = file.size() + sizeof(trailer);
  trailer.directory_bytes = written.size();
  trailer.directory_crc = Crc32c(written);
  std::memcpy(trailer.magic, delta_format::kMagic.data(), sizeof(trailer.magic));
  trailer.crc = Crc32c({reinterpret_cast<const char*>(&trailer), sizeof(trailer)});
  return file.append(reinterpret_cast<const char*>(&trailer), sizeof(trailer));
}

void FuzzOne(absl::string_view input) {
  const std::string file = Mended(input);
  if (file.empty()) return;
  static const FuzzFile out("delta");
  out.Write(file);
  const auto delta = DeltaFile::Read(out.path());
  if (!delta.ok()) return;
  for (const DeltaFile::Table& table : delta->tables) {
    OverlayBuilder builder(table.spec, table.rows_before, nullptr);
    absl::Status status = builder.Reserve(table.rows);
    for (const auto& chunk : table.chunks) {
      if (status.ok()) status = builder.Add(chunk);
    }
    if (!status.ok()) continue;
    builder.EndDelta(table.rows_after);
    const auto overlay = builder.Finish();
    if (!overlay.ok()) continue;
    FuzzCheck((*overlay)->ids() == table.rows, "each row is of an id of its own");
    // Each row is found again.
    for (const auto& chunk : table.chunks) {
      for (uint32_t i = 0; i < chunk->count; ++i) {
        const char* const row = chunk->Row(i);
        const uint32_t found = (*overlay)->index().Find(UpdatedRow::Hash(table.spec, row), [&](uint32_t other) {
          return UpdatedRow::Id((*overlay)->RowAt(other)) == UpdatedRow::Id(row) &&
                 (table.spec.id_kind != IdKind::kString || (*overlay)->StringOf(other) == chunk->StringOf(row));
        });
        FuzzCheck(found != BucketIndex::kNoRow, "a row of the delta is in the version");
      }
    }
  }
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
