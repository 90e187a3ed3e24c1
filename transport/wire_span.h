#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/span.h"
#include "transport/peer_header.h"

namespace portico {

/// What a node did for a call, as the reply carries it to the caller: the views of a header's spans, and the text that
/// some of them point to. Lives until the header is encoded. For one thread.
class WireSpans {
 public:
  /// Spans beyond so many bytes are left out: a reply must fit a header (PeerLimits), and this is not what it is for.
  static constexpr size_t kMaxBytes = 256 << 10;

  /// Adds `spans` to `header`; those that name no node are `node`'s. Both must outlive the header.
  void Put(const std::vector<Span>& spans, absl::string_view node, PeerHeader* header);

 private:
  std::string attributes_;
};

/// A span that came in a reply. Attributes that cannot be read are left out, and what is beyond 16 of them.
Span SpanOf(const WireSpan& wire);

}  // namespace portico
