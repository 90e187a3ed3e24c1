#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace onnx {
class NodeProto;
}

namespace portico {

// Attributes of a portal's node. INVALID_ARGUMENT, naming the attribute, where it is of another type.

/// `otherwise` where there is none or it is empty.
absl::StatusOr<std::string> StringAttribute(const onnx::NodeProto& node, absl::string_view name,
                                            absl::string_view otherwise);
/// Empty where there is none.
absl::StatusOr<std::vector<std::string>> StringsAttribute(const onnx::NodeProto& node, absl::string_view name);
absl::StatusOr<int64_t> IntAttribute(const onnx::NodeProto& node, absl::string_view name, int64_t otherwise);
/// Empty where there is none.
absl::StatusOr<std::vector<int64_t>> IntsAttribute(const onnx::NodeProto& node, absl::string_view name);
/// Empty where there is none.
absl::StatusOr<std::vector<float>> FloatsAttribute(const onnx::NodeProto& node, absl::string_view name);
absl::StatusOr<float> FloatAttribute(const onnx::NodeProto& node, absl::string_view name, float otherwise);
/// 0 or 1; false where there is none.
absl::StatusOr<bool> BoolAttribute(const onnx::NodeProto& node, absl::string_view name);

/// INVALID_ARGUMENT unless `got` entries are as many as wanted, "one for each `of`".
absl::Status CheckCount(absl::string_view attribute, size_t got, int want, absl::string_view of);

}  // namespace portico
