#include "cli/serve_request_log_flags.h"

#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "cli/byte_size_option.h"

namespace portico {
namespace {

class RequestLogFlags final : public ServeFlags {
 public:
  void AddTo(CLI::App& command) override {
    constexpr char kGroup[] = "Request log (docs/observability.md)";
    command
        .add_option("--request-log", log_.files.folder,
                    "Folder that requests and their answers are recorded in, for 'portico replay' and warm-up")
        ->type_name("DIR")
        ->envname("PORTICO_REQUEST_LOG")
        ->group(kGroup);
    command.add_option("--request-log-sample", log_.sample, "Share of requests that are recorded: 0 to 1")
        ->type_name("SHARE")
        ->capture_default_str()
        ->envname("PORTICO_REQUEST_LOG_SAMPLE")
        ->group(kGroup);
    command.add_flag("--request-log-failures", log_.failures, "Record requests that failed, too, with their error")
        ->group(kGroup);
    TakeByteSize(command.add_option("--request-log-file-bytes", log_.files.file_bytes,
                                    "Size at which a file is followed by another"))
        ->default_str("64MiB")
        ->group(kGroup);
    command.add_option("--request-log-file-age", file_age_, "Age at which it is")
        ->type_name("DURATION")
        ->capture_default_str()
        ->group(kGroup);
    TakeByteSize(command.add_option("--request-log-total-bytes", log_.files.total_bytes,
                                    "Size of all files together; the oldest are removed"))
        ->default_str("1GiB")
        ->group(kGroup);
  }

  absl::Status Apply(Node::Options* options) const override {
    options->request_log = log_;
    const RecordFiles::Options& files = log_.files;
    if (!(log_.sample >= 0 && log_.sample <= 1)) {
      return absl::InvalidArgumentError(absl::StrCat("--request-log-sample: got ", log_.sample, ", want 0 to 1"));
    }
    if (!absl::ParseDuration(file_age_, &options->request_log.files.file_age) ||
        options->request_log.files.file_age <= absl::ZeroDuration()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--request-log-file-age: got '", file_age_, "', want a time such as 10m or 24h"));
    }
    if (files.file_bytes < RequestLog::kMinFileBytes) {
      return absl::InvalidArgumentError(absl::StrCat("--request-log-file-bytes: got ", files.file_bytes,
                                                     ", want at least ", RequestLog::kMinFileBytes));
    }
    if (files.total_bytes < files.file_bytes) {
      return absl::InvalidArgumentError(absl::StrCat("--request-log-total-bytes: got ", files.total_bytes,
                                                     ", want at least the ", files.file_bytes,
                                                     " of --request-log-file-bytes"));
    }
    return absl::OkStatus();
  }

 private:
  RequestLog::Options log_;
  std::string file_age_ = "1h";
};

}  // namespace

std::unique_ptr<ServeFlags> NewRequestLogFlags() { return std::make_unique<RequestLogFlags>(); }

}  // namespace portico
