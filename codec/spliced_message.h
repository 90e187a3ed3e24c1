#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/tensor.h"

namespace portico {

/// A serialised message in which large tensors are left where they are: `bytes` with the bytes of `splices` put in,
/// each before position `at` of `bytes`, rising.
struct SplicedMessage {
  struct Splice {
    size_t at;
    Tensor tensor;
  };
  /// Tensors below this are copied into `bytes`: a slice of their own would cost more.
  static constexpr size_t kMinSplice = 8 << 10;

  std::string bytes;
  std::vector<Splice> splices;
};

}  // namespace portico
