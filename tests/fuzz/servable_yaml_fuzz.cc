#include "models/package/servable_config.h"
#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

void FuzzOne(absl::string_view input) {
  static const FuzzFile& file = *new FuzzFile("servable.yaml");
  file.Write(input);
  const auto config = ReadServableConfig(file.path());
  if (!config.ok()) {
    FuzzCheck(config.status().code() == absl::StatusCode::kInvalidArgument, "a bad file is INVALID_ARGUMENT");
    return;
  }
  FuzzCheck(config->batching.max_batch_size >= 1 && config->batching.max_delay_us >= 0 &&
                config->batching.max_queue_rows >= 1 && config->intra_op_threads >= 0,
            "numbers are in their ranges");
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
