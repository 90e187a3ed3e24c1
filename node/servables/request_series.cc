#include "node/servables/request_series.h"

#include <string>
#include <utility>

#include "absl/strings/ascii.h"

namespace portico {
namespace {

constexpr absl::string_view kRequests = "portico_requests_total";
constexpr absl::string_view kRequestsHelp = "Requests finished, by API and code.";

constexpr absl::string_view ApiName(RequestApi api) {
  switch (api) {
    case RequestApi::kTfsGrpc:
      return "tfs_grpc";
    case RequestApi::kTfsRest:
      return "tfs_rest";
    case RequestApi::kV2Grpc:
      return "v2_grpc";
    case RequestApi::kV2Rest:
      return "v2_rest";
    case RequestApi::kPeer:
      return "peer";
  }
  return "unknown";
}

MetricLabels With(MetricLabels labels, RequestApi api, absl::string_view code) {
  labels.emplace_back("api", ApiName(api));
  if (!code.empty()) labels.emplace_back("code", code);
  return labels;
}

}  // namespace

RequestSeries::RequestSeries(MetricRegistry& metrics, MetricLabels labels)
    : metrics_(metrics),
      labels_(std::move(labels)),
      in_flight_(metrics.NewGauge("portico_requests_inside", "Requests inside, by what they ask.", labels_)),
      bytes_(metrics.NewGauge("portico_request_bytes_inside", "Bytes of inputs of the requests inside.", labels_)) {
  for (size_t i = 0; i < apis_.size(); ++i) {
    const auto api = static_cast<RequestApi>(i);
    apis_[i].ok = &metrics.NewCounter(kRequests, kRequestsHelp, With(labels_, api, "OK"));
    apis_[i].rows =
        &metrics.NewCounter("portico_request_rows_total", "Rows of requests that succeeded.", With(labels_, api, ""));
    apis_[i].latency = &metrics.NewHistogram("portico_request_latency_seconds", "From admission to answer.",
                                             With(labels_, api, ""), LatencyBuckets());
  }
}

void RequestSeries::Finished(RequestApi api, const absl::Status& status, absl::Duration latency, int64_t rows) {
  OfApi& series = apis_[static_cast<size_t>(api)];
  series.latency->Observe(absl::ToDoubleSeconds(latency));
  if (status.ok()) {
    series.ok->Increment();
    series.rows->Add(static_cast<double>(rows));
    return;
  }
  // Errors are rare enough for a look-up, and few codes ever occur: no series is made before it is needed.
  metrics_.NewCounter(kRequests, kRequestsHelp, With(labels_, api, absl::StatusCodeToString(status.code())))
      .Increment();
}

}  // namespace portico
