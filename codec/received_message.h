#pragma once

#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace portico {

/// A message as it was received; `origin` keeps `bytes` alive for the tensors that view them.
struct ReceivedMessage {
  Ref<TensorOrigin> origin;
  absl::string_view bytes;
};

}  // namespace portico
