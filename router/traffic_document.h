#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "router/traffic.h"

namespace YAML {
class Emitter;
}

namespace portico {

class YamlNode;

// A TrafficSplit in a revision document, as EmitTraffic() writes it and ReadTraffic() reads it back; mesh.yaml has
// shorter words (deploy/mesh_traffic.h), but for what is the same in both.

void EmitTraffic(const TrafficSplit& split, YAML::Emitter& out);
/// INVALID_ARGUMENT with file, line and `subject`.
absl::StatusOr<TrafficSplit> ReadTraffic(const YamlNode& from, const std::string& subject);

// What is the same in both. Keys that are not there leave what is.

absl::Status ReadTrafficBy(const YamlNode& from, const std::string& subject, TrafficSplit* split);
/// All of `shadow` but `to`.
absl::Status ReadShadowLimits(const YamlNode& from, const std::string& subject, TrafficSplit::Shadow* shadow);
/// `steps`, `every` and `rollback`.
absl::Status ReadRampPlan(const YamlNode& from, const std::string& subject, TrafficSplit::Ramp* ramp);
/// A number within [min, max], with a point or without.
absl::StatusOr<double> ReadNumber(const YamlNode& from, absl::string_view subject, double min, double max);

}  // namespace portico
