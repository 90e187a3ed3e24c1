#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"
#include "base/wire.h"
#include "codec/spliced_message.h"

namespace portico {

/// An input of the Open Inference Protocol as it is declared in the request, or an output in the response. `name` is a
/// view.
struct V2InputHead {
  absl::string_view name;
  DType dtype = DType::kInvalid;
  Shape shape;
  /// What messages call it.
  absl::string_view kind = "input";
};

/// The tensor of `raw` bytes (row-major, little-endian; BYTES elements each behind a 4-byte length). Numbers become a
/// view that `origin` keeps alive; strings are copied, at most `max_bytes`. INVALID_ARGUMENT naming the input where the
/// bytes do not fit the shape.
absl::StatusOr<Tensor> ReadV2Raw(const V2InputHead& head, absl::string_view raw, const Ref<TensorOrigin>& origin,
                                 uint64_t max_bytes);

/// The tensor of a serialised inference.InferTensorContents: as many values as the shape takes, in the field of the
/// dtype and no other. Copies at most `max_bytes`. INVALID_ARGUMENT naming the input for anything else.
absl::StatusOr<Tensor> ReadV2Contents(const V2InputHead& head, absl::string_view contents, uint64_t max_bytes);

/// Adds what the reader's current field holds of a repeated extent, packed or not. INVALID_ARGUMENT beyond 254 of them.
absl::Status ReadV2Shape(WireReader* in, Shape* shape);

/// Appends field `field` of a request or a response: the tensor's name, datatype and shape; the bytes go raw.
void AppendV2Head(uint32_t field, absl::string_view name, const Tensor& tensor, std::string* out);

/// Bytes that the tensor takes raw.
uint64_t V2RawSize(const Tensor& tensor);
/// Appends those bytes, or leaves a large tensor of numbers where it is.
void AppendV2Raw(const Tensor& tensor, SplicedMessage* out);

}  // namespace portico
