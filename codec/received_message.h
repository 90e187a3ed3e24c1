#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace portico {

/// A message as it was received; `origin` keeps `bytes` alive for the tensors that view them.
struct ReceivedMessage {
  Ref<TensorOrigin> origin;
  absl::string_view bytes;
  /// Of an HTTP body that is JSON and binary data behind it: how much of it is JSON. 0: all.
  uint64_t json_bytes = 0;
};

}  // namespace portico
