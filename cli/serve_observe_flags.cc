#include "cli/serve_observe_flags.h"

#include <cmath>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "node/observe/http_post.h"

namespace portico {
namespace {

class ObserveFlags final : public ServeFlags {
 public:
  void AddTo(CLI::App& command) override {
    constexpr char kGroup[] = "Logs and traces (docs/observability.md)";
    command.add_option("--log-format", log_format_, "Lines of the log: text, or json for an object per line")
        ->type_name("text|json")
        ->capture_default_str()
        ->envname("PORTICO_LOG_FORMAT")
        ->group(kGroup);
    command
        .add_option("--trace-slow", trace_slow_,
                    "Requests that take at least this long are kept at /debug/traces?slow=1: 20ms, 1.5s; 0: none")
        ->type_name("DURATION")
        ->capture_default_str()
        ->envname("PORTICO_TRACE_SLOW")
        ->group(kGroup);
    command
        .add_option("--trace-sample", trace_sample_,
                    "Share of requests traced where the client does not say (traceparent): 0 to 1")
        ->type_name("SHARE")
        ->capture_default_str()
        ->envname("PORTICO_TRACE_SAMPLE")
        ->group(kGroup);
    command
        .add_option("--otlp-endpoint", otlp_endpoint_,
                    "An OpenTelemetry collector that kept traces are sent to (OTLP over HTTP, JSON)")
        ->type_name("http://HOST:4318")
        ->envname("PORTICO_OTLP_ENDPOINT")
        ->group(kGroup);
  }

  absl::Status Apply(Node::Options* options) const override {
    if (!SetLogFormat(log_format_, options->name)) {
      return absl::InvalidArgumentError(absl::StrCat("--log-format: got '", log_format_, "', want text or json"));
    }
    if (!otlp_endpoint_.empty()) {
      if (auto target = HttpTarget::Parse(otlp_endpoint_); !target.ok()) {
        return WithContext("--otlp-endpoint", target.status());
      }
      options->otlp.endpoint = otlp_endpoint_;
    }
    return ApplyTraces(&options->traces);
  }

 private:
  absl::Status ApplyTraces(Traces::Options* traces) const {
    if (!absl::ParseDuration(trace_slow_, &traces->slow) || traces->slow < absl::ZeroDuration()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--trace-slow: got '", trace_slow_, "', want a time such as 50ms or 1.5s, or 0"));
    }
    if (!(trace_sample_ >= 0 && trace_sample_ <= 1)) {
      return absl::InvalidArgumentError(absl::StrCat("--trace-sample: got ", trace_sample_, ", want 0 to 1"));
    }
    traces->sample = trace_sample_;
    return absl::OkStatus();
  }

  std::string log_format_ = "text";
  std::string trace_slow_ = "50ms";
  double trace_sample_ = 0.01;
  std::string otlp_endpoint_;
};

}  // namespace

std::unique_ptr<ServeFlags> NewObserveFlags() { return std::make_unique<ObserveFlags>(); }

}  // namespace portico
