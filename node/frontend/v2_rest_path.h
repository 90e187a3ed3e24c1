#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/servable_ref.h"

namespace portico {

/// A URL of the Open Inference Protocol, taken apart.
struct V2RestPath {
  enum class Route {
    kServer,       // GET /v2
    kLive,         // GET /v2/health/live
    kReady,        // GET /v2/health/ready
    kModel,        // GET /v2/models/M[/versions/V]
    kModelReady,   // … /ready
    kModelConfig,  // … /config
    kStats,        // … /stats; without a model: of all
    kInfer,        // POST /v2/models/M[/versions/V]/infer
    kIndex,        // POST /v2/repository/index
    kLoad,         // POST /v2/repository/models/M/load
    kUnload,       // POST /v2/repository/models/M/unload
  };
  Route route = Route::kServer;
  ServableRef ref;
};

/// NOT_FOUND for a path that is none of these; INVALID_ARGUMENT for one that is but wants the other method, for a
/// version that is no number and for broken %-escapes. A model's name may hold slashes, as they are or escaped.
absl::StatusOr<V2RestPath> ParseV2RestPath(absl::string_view method, absl::string_view path);

}  // namespace portico
