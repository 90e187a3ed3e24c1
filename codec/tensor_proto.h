#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"
#include "codec/spliced_message.h"

namespace portico {

/// Reads a serialised tensorflow.TensorProto in place. `tensor_content` becomes a view that `origin` keeps alive; what
/// must be converted (typed *_val fields, strings, 4-bit types) is copied, at most `max_bytes`, checked before memory
/// is taken. Fewer values than the shape takes: the last one fills the rest, none means zeros, as TensorFlow has it.
/// INVALID_ARGUMENT for anything else that does not fit.
absl::StatusOr<Tensor> ReadTensorProto(absl::string_view proto, const Ref<TensorOrigin>& origin, uint64_t max_bytes);

/// A serialised TensorProto in two parts, so that the second can be sent from where it is: `head`, then the bytes of
/// `content` (which may hold nothing).
struct EncodedTensor {
  std::string head;
  Tensor content;

  uint64_t size() const { return head.size() + content.bytes().size(); }
};

/// Numbers go into tensor_content, strings into string_val. UNIMPLEMENTED for a dtype that TensorFlow does not have.
absl::StatusOr<EncodedTensor> EncodeTensorProto(const Tensor& tensor);

/// Appends an entry of field `field`, a map from names to TensorProto. UNIMPLEMENTED as above.
absl::Status AppendNamedTensorProto(uint32_t field, absl::string_view name, const Tensor& tensor, SplicedMessage* out);

}  // namespace portico
