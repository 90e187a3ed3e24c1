#include "node/frontend/tfs_rest_path.h"
#include "node/frontend/v2_rest_path.h"
#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

/// Input: the method's letter, then the path.
void FuzzOne(absl::string_view input) {
  const FuzzOrigin exact(input);
  absl::string_view path = exact.bytes();
  const char* const methods[] = {"GET", "POST", "HEAD"};
  const absl::string_view method = methods[TakeByte(&path) % 3];
  if (const auto v2 = ParseV2RestPath(method, path); !v2.ok()) {
    FuzzCheck(absl::IsInvalidArgument(v2.status()) || absl::IsNotFound(v2.status()),
              "a bad path is the caller's fault");
  }
  const auto tfs = ParseTfsRestPath(method, path);
  if (!tfs.ok()) {
    FuzzCheck(
        tfs.status().code() == absl::StatusCode::kInvalidArgument || tfs.status().code() == absl::StatusCode::kNotFound,
        "a bad path is the caller's fault");
    return;
  }
  FuzzCheck(!tfs->ref.name.empty(), "a model has a name");
  FuzzCheck(tfs->verb.empty() == (method != "POST"), "POST has a verb");
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
