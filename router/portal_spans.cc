#include "router/portal_spans.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "transport/wire_span.h"

namespace portico {
namespace {

/// Starts travel as whole microseconds.
constexpr absl::Duration kRounding = absl::Microseconds(1);

struct Extent {
  absl::Time begin = absl::InfiniteFuture();
  absl::Time end = absl::InfinitePast();

  void Add(const Span& span) {
    begin = std::min(begin, span.start);
    end = std::max(end, span.start + span.duration);
  }
  bool empty() const { return end < begin; }
  absl::Duration length() const { return end - begin; }
};

/// What to add to the peer's times to have them within the call's.
absl::Duration ShiftInto(const Span& portal, const Extent& peer) {
  const absl::Time end = portal.start + portal.duration;
  if (peer.begin + kRounding >= portal.start && peer.end <= end + kRounding) return absl::ZeroDuration();
  const absl::Duration slack = std::max(portal.duration - peer.length(), absl::ZeroDuration());
  return portal.start + slack / 2 - peer.begin;
}

}  // namespace

void AddPortalSpans(Span portal, absl::Span<const WireSpan> from_peer, SpanLog& log) {
  std::vector<Span> spans;
  spans.reserve(from_peer.size());
  Extent topmost, all;
  for (const WireSpan& wire : from_peer) {
    const Span& span = spans.emplace_back(SpanOf(wire));
    if (span.parent_span_id == portal.span_id) topmost.Add(span);
    all.Add(span);
  }
  absl::Duration shift;
  if (!all.empty()) shift = ShiftInto(portal, topmost.empty() ? all : topmost);
  if (!topmost.empty()) {
    const absl::Duration wire = std::max(portal.duration - topmost.length(), absl::ZeroDuration());
    portal.attributes.push_back({"wire_us", absl::ToInt64Microseconds(wire)});
  }
  const uint64_t portal_id = portal.span_id;
  log.Add(std::move(portal));
  for (Span& span : spans) {
    span.start += shift;
    if (shift != absl::ZeroDuration() && span.parent_span_id == portal_id) {
      span.attributes.push_back({"clock_skew_us", absl::ToInt64Microseconds(-shift)});
    }
    log.Add(std::move(span));
  }
}

}  // namespace portico
