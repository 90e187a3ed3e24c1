#include "hub/handle.h"
#include "hub/manifest.h"
#include "hub/s3_list.h"
#include "hub/store_index.h"
#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

/// What comes from a store: manifests, indexes, lists of buckets, and handles that people type.
void FuzzOne(absl::string_view input) {
  switch (TakeByte(&input) % 4) {
    case 0: {
      const auto manifest = ParseManifest(input);
      if (!manifest.ok()) return;
      for (const ModuleFile& file : manifest->files)
        FuzzCheckOk(CheckModulePath(file.path), "paths stay in the folder");
      FuzzCheckOk(ParseHandle(manifest->handle.ToString()).status(), "its handle is one");
      const std::string text = FormatManifest(*manifest);
      const auto again = ParseManifest(text);
      FuzzCheckOk(again.status(), "what was read can be written and read");
      FuzzCheck(FormatManifest(*again) == text, "and says the same");
      return;
    }
    case 1: {
      const auto entries = ParseIndex(input);
      if (!entries.ok()) return;
      const std::string text = FormatIndex(*entries);
      const auto again = ParseIndex(text);
      FuzzCheckOk(again.status(), "an index that was read can be written and read");
      FuzzCheck(again->size() == entries->size(), "and lists as many");
      return;
    }
    case 2: {
      const auto page = ParseS3Page(input);
      if (!page.ok()) return;
      FuzzCheck(page->keys.size() <= 10'000, "keys are bounded");
      return;
    }
    default: {
      const auto handle = ParseHandle(input);
      if (handle.ok()) FuzzCheck(handle->ToString() == input, "a handle is written one way");
      (void)LooksLikeHandle(input);
      return;
    }
  }
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
