#pragma once

#include <string>

#include "absl/status/status.h"

namespace google::protobuf {
class Message;
}

namespace portico {

/// Reads `path` (at most 16 MiB) in protobuf's text format into `message`. INVALID_ARGUMENT "file 'PATH': line 3,
/// column 5: …" for what is not such a text, fields that the message does not have among it.
absl::Status ReadProtoTextFile(const std::string& path, google::protobuf::Message* message);
/// The same of `text`, which that file holds.
absl::Status ParseProtoText(const std::string& path, const std::string& text, google::protobuf::Message* message);

}  // namespace portico
