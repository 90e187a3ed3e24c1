#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "node/file_follower.h"
#include "node/servables/model_config.h"

namespace portico {

/// Follows a file that says which models a node serves (--model_config_file): reads it once a period and hands it on
/// when its content is new (FileFollower). A file that cannot be parsed or applied is logged, once, and changes
/// nothing. What HandleReloadConfigRequest says meanwhile holds until the file changes.
///
///   ModelConfigPoller poller(options, configure);   RETURN_IF_ERROR(poller.Poll());   poller.Start();
class ModelConfigPoller {
 public:
  struct Options {
    /// Text protobuf, tensorflow.serving.ModelServerConfig. Empty: there is no such file.
    std::string path;
    /// 0: it is read once.
    absl::Duration period;
    /// ModelConfig::resource_preserving of every model, which the file has no field for.
    bool resource_preserving = false;
  };
  /// Applies a new configuration or refuses it.
  using Configure = std::function<absl::Status(std::vector<ModelConfig> models)>;

  ModelConfigPoller(const Options& options, Configure configure);

  /// As FileFollower has them.
  absl::Status Poll() { return follower_.Poll(); }
  void Start() { follower_.Start(); }
  void Stop() { follower_.Stop(); }

 private:
  FileFollower follower_;
};

}  // namespace portico
