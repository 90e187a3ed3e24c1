#include "node/frontend/v2_parameters.h"

#include <algorithm>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "router/request_key.h"

namespace portico {
namespace {

absl::Status WrongType(absl::string_view name, absl::string_view want) {
  return absl::InvalidArgumentError(absl::StrCat("parameter '", name, "': got something else, want ", want));
}

absl::Status ReadCount(absl::string_view name, const V2Value& value, uint64_t* out) {
  if (const auto* number = std::get_if<uint64_t>(&value)) {
    *out = *number;
    return absl::OkStatus();
  }
  if (const auto* number = std::get_if<int64_t>(&value); number != nullptr && *number >= 0) {
    *out = static_cast<uint64_t>(*number);
    return absl::OkStatus();
  }
  return WrongType(name, "a whole number that is not negative");
}

absl::Status ReadBool(absl::string_view name, const V2Value& value, bool* out) {
  const auto* truth = std::get_if<bool>(&value);
  if (truth == nullptr) return WrongType(name, "true or false");
  *out = *truth;
  return absl::OkStatus();
}

/// What a client says when it does not use a feature: 0, false, "", null.
bool IsNothing(const V2Value& value) {
  struct Visitor {
    bool operator()(std::monostate) const { return true; }
    bool operator()(bool truth) const { return !truth; }
    bool operator()(int64_t number) const { return number == 0; }
    bool operator()(uint64_t number) const { return number == 0; }
    bool operator()(double number) const { return number == 0; }
    bool operator()(absl::string_view text) const { return text.empty(); }
  };
  return std::visit(Visitor(), value);
}

}  // namespace

absl::Status V2RequestParameters::Set(absl::string_view name, const V2Value& value) {
  if (name == "signature") {
    const auto* text = std::get_if<absl::string_view>(&value);
    if (text == nullptr) return WrongType(name, "the name of a signature");
    signature = std::string(*text);
    return absl::OkStatus();
  }
  if (name == "portico_key") {
    const auto* text = std::get_if<absl::string_view>(&value);
    if (text == nullptr) return WrongType(name, "text");
    key = std::string(*text);
    return absl::OkStatus();
  }
  if (name == "priority") return ReadCount(name, value, &priority);
  if (name == "timeout") {
    uint64_t us = 0;
    RETURN_IF_ERROR(ReadCount(name, value, &us));
    if (us != 0) {
      timeout = absl::Microseconds(
          static_cast<int64_t>(std::min<uint64_t>(us, static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))));
    }
    return absl::OkStatus();
  }
  if (name == "binary_data_output") return ReadBool(name, value, &binary_data_output);
  if (absl::StartsWith(name, "sequence_") && !IsNothing(value)) {
    return absl::UnimplementedError(
        absl::StrCat("parameter '", name,
                     "': requests of a sequence are not correlated here; keep the state in the client and send it as "
                     "an input"));
  }
  if (name == "triton_enable_empty_final_response" && !IsNothing(value)) {
    return absl::UnimplementedError(
        absl::StrCat("parameter '", name, "': each request has exactly one response here; leave it out"));
  }
  return absl::OkStatus();
}

absl::Status V2RequestParameters::ApplyTo(const Clock& clock, RequestContext* context) const {
  if (timeout != absl::InfiniteDuration()) {
    context->deadline = context->deadline.Sooner(Deadline::In(timeout, clock));
  }
  // Beyond any number of steps that matters, and far from overflow.
  constexpr uint64_t kLowest = 1 << 20;
  if (priority > 1) context->priority -= static_cast<int32_t>(std::min(priority, kLowest) - 1);
  return TakeRequestKey(key, context);
}

absl::Status V2TensorParameters::Set(absl::string_view name, const V2Value& value) {
  if (name == "binary_data_size") return ReadCount(name, value, &binary_data_size.emplace());
  if (name == "binary_data") return ReadBool(name, value, &binary_data.emplace());
  if (absl::StartsWith(name, "shared_memory_") && !IsNothing(value)) {
    return absl::UnimplementedError(
        absl::StrCat("parameter '", name, "': shared memory is not served here; send tensors as binary data"));
  }
  if (name == "classification" && !IsNothing(value)) {
    return absl::UnimplementedError(
        absl::StrCat("parameter '", name, "': not served here; request the output itself and sort it in the client"));
  }
  return absl::OkStatus();
}

absl::Status CheckV2LoadParameter(absl::string_view name) {
  if (name != "config" && !absl::StartsWith(name, "file:")) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("parameter '", name.substr(0, 256),
                   "': a load takes the model from its folder; change servable.yaml or the folder, then load"));
}

}  // namespace portico
