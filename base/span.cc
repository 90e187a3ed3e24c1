#include "base/span.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace portico {
namespace {

/// Lower-case hex only, as the W3C recommendation demands.
bool ParseHex(absl::string_view text, uint64_t* value) {
  uint64_t result = 0;
  for (const char c : text) {
    if (c >= '0' && c <= '9')
      result = result << 4 | static_cast<uint64_t>(c - '0');
    else if (c >= 'a' && c <= 'f')
      result = result << 4 | static_cast<uint64_t>(c - 'a' + 10);
    else
      return false;
  }
  *value = result;
  return true;
}

template <typename Value>
const Value* Find(const std::vector<SpanAttribute>& attributes, absl::string_view name) {
  const auto found =
      std::find_if(attributes.begin(), attributes.end(), [&](const SpanAttribute& a) { return a.name == name; });
  return found == attributes.end() ? nullptr : std::get_if<Value>(&found->value);
}

}  // namespace

const int64_t* Span::Number(absl::string_view attribute) const { return Find<int64_t>(attributes, attribute); }
const std::string* Span::Text(absl::string_view attribute) const { return Find<std::string>(attributes, attribute); }

void SpanLog::Add(Span span) {
  MutexLock lock(&mutex_);
  if (spans_.size() >= kMaxSpans) {
    ++dropped_;
    return;
  }
  spans_.push_back(std::move(span));
}

std::vector<Span> SpanLog::Take() {
  MutexLock lock(&mutex_);
  return std::exchange(spans_, {});
}

uint64_t SpanLog::dropped() const {
  MutexLock lock(&mutex_);
  return dropped_;
}

std::string ErrorName(const absl::Status& status) { return status.ok() ? "" : absl::StatusCodeToString(status.code()); }

uint64_t NewSpanId() {
  static thread_local std::mt19937_64 generator{std::random_device{}()};
  uint64_t id = 0;
  while (id == 0) id = generator();
  return id;
}

bool ParseTraceparent(absl::string_view header, TraceContext* context) {
  // version "-" trace-id "-" parent-id "-" flags; a later version may append more.
  if (header.size() < 55 || header[2] != '-' || header[35] != '-' || header[52] != '-') return false;
  uint64_t version = 0;
  uint64_t flags = 0;
  TraceContext parsed;
  if (!ParseHex(header.substr(0, 2), &version) || version == 0xff || (version == 0 && header.size() != 55))
    return false;
  if (!ParseHex(header.substr(3, 16), &parsed.trace_id_high) ||
      !ParseHex(header.substr(19, 16), &parsed.trace_id_low) ||
      !ParseHex(header.substr(36, 16), &parsed.parent_span_id) || !ParseHex(header.substr(53, 2), &flags)) {
    return false;
  }
  if ((parsed.trace_id_high | parsed.trace_id_low) == 0 || parsed.parent_span_id == 0) return false;
  parsed.sampled = (flags & 1) != 0;
  *context = parsed;
  return true;
}

std::string FormatTraceparent(const TraceContext& context) {
  return absl::StrFormat("00-%016x%016x-%016x-%02x", context.trace_id_high, context.trace_id_low,
                         context.parent_span_id, context.sampled ? 1 : 0);
}

std::string TraceIdHex(const TraceContext& context) {
  return absl::StrFormat("%016x%016x", context.trace_id_high, context.trace_id_low);
}

}  // namespace portico
