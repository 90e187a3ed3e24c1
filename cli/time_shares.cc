#include "cli/time_shares.h"

#include <algorithm>
#include <array>
#include <vector>

namespace portico {
namespace {

enum Share : size_t { kBatch, kQueue, kWire, kShares };

/// Something of that share begins or ends.
struct Edge {
  double at_us;
  Share share;
  int step;
};

void AddInterval(double begin, double end, Share share, std::vector<Edge>& edges) {
  if (end <= begin) return;
  edges.push_back({begin, share, 1});
  edges.push_back({end, share, -1});
}

}  // namespace

PeerTime PeerTimeOf(const TraceDocument& trace, const TraceSpan& portal) {
  if (portal.caused.empty()) return {portal.end_us(), portal.end_us()};
  PeerTime time{portal.end_us(), portal.start_us};
  for (const size_t child : portal.caused) {
    time.begin_us = std::min(time.begin_us, trace.spans[child].start_us);
    time.end_us = std::max(time.end_us, trace.spans[child].end_us());
  }
  return time;
}

TimeShares SharesOf(const TraceDocument& trace) {
  std::vector<Edge> edges;
  for (const TraceSpan& span : trace.spans) {
    if (span.kind == SpanKind::kBatch) AddInterval(span.start_us, span.end_us(), kBatch, edges);
    if (span.kind == SpanKind::kQueue) AddInterval(span.start_us, span.end_us(), kQueue, edges);
    // A call whose peer told nothing may have been anything.
    if (span.kind != SpanKind::kPortal || span.caused.empty()) continue;
    const PeerTime peer = PeerTimeOf(trace, span);
    AddInterval(span.start_us, peer.begin_us, kWire, edges);
    AddInterval(peer.end_us, span.end_us(), kWire, edges);
  }
  std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) { return a.at_us < b.at_us; });
  std::array<int, kShares> open{};
  std::array<double, kShares> sums{};
  double before = trace.begin_us();
  for (const Edge& edge : edges) {
    const auto first = std::find_if(open.begin(), open.end(), [](int count) { return count > 0; });
    if (first != open.end()) sums[static_cast<size_t>(first - open.begin())] += edge.at_us - before;
    before = edge.at_us;
    open[edge.share] += edge.step;
  }
  TimeShares shares{sums[kBatch], sums[kQueue], sums[kWire], 0};
  shares.rest_us = std::max(trace.took_us() - shares.batch_us - shares.queue_us - shares.wire_us, 0.0);
  return shares;
}

}  // namespace portico
