#include "deploy/mesh.h"
#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

/// What a revision says, written and read again, is the same.
void CheckRoundTrip(const Revision& revision) {
  static const FuzzFile& file = *new FuzzFile("again.yaml");
  const std::string text = FormatRevision(revision);
  file.Write(text);
  const auto again = ReadRevision(file.path());
  FuzzCheckOk(again.status(), absl::StrCat("what was written is read:\n", text));
  FuzzCheck(FormatRevision(*again) == text, "the revision is the same");
}

void FuzzOne(absl::string_view input) {
  static const FuzzFile& file = *new FuzzFile("mesh.yaml");
  file.Write(input);
  const auto mesh = ReadMeshFile(file.path());
  if (mesh.ok()) CheckRoundTrip(mesh->revision);
  const auto revision = ReadRevision(file.path());
  if (revision.ok()) CheckRoundTrip(*revision);
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
