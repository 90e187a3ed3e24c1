#pragma once

#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "node/servables/model_config.h"

namespace portico {

/// Follows a file that says which models a node serves (--model_config_file): reads it once a period and hands it on
/// when its content is new. A file that cannot be read, parsed or applied is logged, once, and changes nothing. What
/// HandleReloadConfigRequest says meanwhile holds until the file changes.
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

  ModelConfigPoller(Options options, Configure configure)
      : options_(std::move(options)), configure_(std::move(configure)) {}
  /// Stops.
  ~ModelConfigPoller() { Stop(); }

  /// Looks once. OK where nothing is new; else what was wrong. For one thread at a time.
  absl::Status Poll();
  /// Looks once a period from now on, on a thread of its own. Does nothing for a period of 0.
  void Start();
  /// Joins. `configure` is not called any more.
  void Stop();

 private:
  void Run();

  const Options options_;
  const Configure configure_;
  /// What was read last, good or bad; for the thread that polls.
  std::string seen_;
  bool has_seen_ = false;
  Mutex mutex_;
  CondVar stop_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace portico
