// The directory of a shard file, with checksums that fit: what a broken or a hostile writer would leave. Opening it and
// looking ids up ends in an error or in rows, and reads nothing outside the file.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "embedding/crc32c.h"
#include "embedding/shard_file.h"
#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

constexpr uint64_t kDirectoryAt = 6 << 20;

/// Input: the directory. The rest of the file is a hole.
const std::string& FileWith(absl::string_view directory) {
  static const int fd = memfd_create("shard", MFD_CLOEXEC);
  static const auto& path = *new std::string(absl::StrCat("/proc/self/fd/", fd));
  Superblock block;
  block.directory = {kDirectoryAt, directory.size()};
  block.directory_crc = Crc32c(directory);
  block.file_bytes = kDirectoryAt + directory.size();
  const std::string bytes = block.Encode();
  FuzzCheck(ftruncate(fd, static_cast<off_t>(block.file_bytes)) == 0, "the file has its length");
  for (const off_t at : {off_t{0}, off_t{4096}}) {
    FuzzCheck(pwrite(fd, bytes.data(), bytes.size(), at) == static_cast<ssize_t>(bytes.size()),
              "superblocks are written");
  }
  FuzzCheck(pwrite(fd, directory.data(), directory.size(), kDirectoryAt) == static_cast<ssize_t>(directory.size()),
            "the directory is written");
  return path;
}

void FuzzOne(absl::string_view input) {
  const FuzzOrigin exact(input);
  const auto layout = DecodeDirectory(exact.bytes(), kDirectoryAt + input.size());
  const auto file = ShardFile::Open(FileWith(input));
  FuzzCheck(file.ok() == layout.ok(), "the directory alone decides");
  if (!file.ok()) return;
  for (const ShardLayout::Section& section : layout->Sections()) {
    FuzzCheck(section.offset + section.blocks() * ShardLayout::kBlockBytes <= kDirectoryAt + input.size() ||
                  section.offset + section.bytes <= kDirectoryAt + input.size(),
              "sections are in the file");
  }
  // What is written again is read again.
  FuzzCheckOk(DecodeDirectory(EncodeDirectory(*layout), kDirectoryAt + input.size()).status(), "it is read again");
  for (const auto& table : (*file)->tables()) {
    const std::vector<int64_t> ids = {0, 1, -1, int64_t{1} << 40};
    const std::vector<absl::string_view> strings = {"", "a", "some longer id"};
    IdBags bags;
    if (table->spec().id_kind == IdKind::kString) {
      bags.strings = strings;
    } else {
      bags.ids = absl::MakeConstSpan(ids).first(table->spec().id_kind == IdKind::kDense ? 2 : ids.size());
    }
    std::vector<float> out(bags.count() * table->spec().dim);
    (void)table->Lookup(bags, Pooling::kNone, absl::MakeSpan(out));
  }
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
