#include "transport/wire_span.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/time/time.h"
#include "base/wire.h"

namespace portico {
namespace {

constexpr size_t kMaxAttributes = 16;
/// Around a span's texts: tags, lengths and numbers.
constexpr size_t kSpanOverhead = 64;

void AppendAttribute(const SpanAttribute& attribute, std::string* out) {
  std::string entry;
  WireWriter writer(&entry);
  writer.Bytes(1, attribute.name);
  if (const auto* text = std::get_if<std::string>(&attribute.value)) {
    writer.Bytes(2, *text);
  } else {
    writer.Int(3, std::get<int64_t>(attribute.value));
  }
  WireWriter(out).Bytes(1, entry);
}

/// False where it has no name or no value, or is malformed.
bool ReadAttribute(absl::string_view bytes, SpanAttribute* attribute) {
  bool has_value = false;
  WireReader in(bytes);
  while (in.Next()) {
    if (in.field() == 1 && in.is(WireReader::Type::kBytes)) {
      attribute->name = std::string(in.Bytes());
    } else if (in.field() == 2 && in.is(WireReader::Type::kBytes)) {
      attribute->value = std::string(in.Bytes());
      has_value = true;
    } else if (in.field() == 3 && in.is(WireReader::Type::kVarint)) {
      attribute->value = in.Int();
      has_value = true;
    }
  }
  return has_value && !in.failed() && !attribute->name.empty();
}

std::vector<SpanAttribute> ReadAttributes(absl::string_view bytes) {
  std::vector<SpanAttribute> attributes;
  WireReader in(bytes);
  while (attributes.size() < kMaxAttributes && in.Next()) {
    if (in.field() != 1 || !in.is(WireReader::Type::kBytes)) continue;
    SpanAttribute attribute;
    if (ReadAttribute(in.Bytes(), &attribute)) attributes.push_back(std::move(attribute));
  }
  return attributes;
}

}  // namespace

void WireSpans::Put(const std::vector<Span>& spans, absl::string_view node, PeerHeader* header) {
  size_t bytes = 0;
  std::vector<size_t> ends;
  ends.reserve(spans.size());
  for (const Span& span : spans) {
    const size_t begin = attributes_.size();
    for (const SpanAttribute& attribute : span.attributes) AppendAttribute(attribute, &attributes_);
    bytes += kSpanOverhead + span.name.size() + std::max(span.node.size(), node.size()) + span.error.size() +
             attributes_.size() - begin;
    if (bytes > kMaxBytes) break;
    ends.push_back(attributes_.size());
  }
  // Now that the text stays where it is.
  size_t begin = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    const Span& span = spans[i];
    WireSpan& wire = header->spans.emplace_back();
    wire.span_id = span.span_id;
    wire.parent_span_id = span.parent_span_id;
    wire.name = span.name;
    wire.node = span.node.empty() ? node : absl::string_view(span.node);
    wire.start_us = absl::ToUnixMicros(span.start);
    wire.duration_ns = static_cast<uint64_t>(std::max<int64_t>(absl::ToInt64Nanoseconds(span.duration), 0));
    wire.error = span.error;
    wire.attributes = absl::string_view(attributes_).substr(begin, ends[i] - begin);
    begin = ends[i];
  }
}

Span SpanOf(const WireSpan& wire) {
  Span span;
  span.span_id = wire.span_id;
  span.parent_span_id = wire.parent_span_id;
  span.name = std::string(wire.name);
  span.node = std::string(wire.node);
  span.start = absl::FromUnixMicros(wire.start_us);
  constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  span.duration = absl::Nanoseconds(static_cast<int64_t>(std::min(wire.duration_ns, kMost)));
  span.error = std::string(wire.error);
  span.attributes = ReadAttributes(wire.attributes);
  return span;
}

}  // namespace portico
