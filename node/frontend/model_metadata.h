#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "models/package/signature.h"

namespace tensorflow::serving {
class SignatureDefMap;
}

namespace portico {

/// `signatures` as GetModelMetadata answers them. A dtype that TensorFlow does not have becomes DT_INVALID.
void FillSignatureDefs(const std::vector<Signature>& signatures, tensorflow::serving::SignatureDefMap* map);

/// The body of GET /v1/models/NAME/metadata.
absl::StatusOr<std::string> MetadataJson(absl::string_view model, int64_t version,
                                         const std::vector<Signature>& signatures);

}  // namespace portico
