#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/small_float.h"
#include "remote_op/fallback.h"

namespace portico {
namespace {

/// Larger ones would rather be an error than an answer.
constexpr uint64_t kMaxBytes = uint64_t{1} << 30;

template <typename T>
std::string BytesOf(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

/// A whole number of that type; nothing where the text is none.
template <typename T>
std::optional<std::string> Whole(const std::string& text) {
  if constexpr (std::is_signed_v<T>) {
    int64_t value;
    if (!absl::SimpleAtoi(text, &value) || value < std::numeric_limits<T>::min() ||
        value > std::numeric_limits<T>::max()) {
      return std::nullopt;
    }
    return BytesOf(static_cast<T>(value));
  } else {
    uint64_t value;
    if (!absl::SimpleAtoi(text, &value) || value > std::numeric_limits<T>::max()) return std::nullopt;
    return BytesOf(static_cast<T>(value));
  }
}

/// One element's bytes; nothing where the text is no value of that type.
std::optional<std::string> Element(DType dtype, const std::string& text) {
  float narrow = 0;
  double wide = 0;
  bool truth = false;
  switch (dtype) {
    case DType::kFloat:
      return absl::SimpleAtof(text, &narrow) ? std::optional(BytesOf(narrow)) : std::nullopt;
    case DType::kFloat16:
      return absl::SimpleAtof(text, &narrow) ? std::optional(BytesOf(HalfFromFloat(narrow))) : std::nullopt;
    case DType::kBfloat16:
      return absl::SimpleAtof(text, &narrow) ? std::optional(BytesOf(BfloatFromFloat(narrow))) : std::nullopt;
    case DType::kDouble:
      return absl::SimpleAtod(text, &wide) ? std::optional(BytesOf(wide)) : std::nullopt;
    case DType::kBool:
      return absl::SimpleAtob(text, &truth) ? std::optional(BytesOf(truth)) : std::nullopt;
    case DType::kInt8:
      return Whole<int8_t>(text);
    case DType::kInt16:
      return Whole<int16_t>(text);
    case DType::kInt32:
      return Whole<int32_t>(text);
    case DType::kInt64:
      return Whole<int64_t>(text);
    case DType::kUint8:
      return Whole<uint8_t>(text);
    case DType::kUint16:
      return Whole<uint16_t>(text);
    case DType::kUint32:
      return Whole<uint32_t>(text);
    case DType::kUint64:
      return Whole<uint64_t>(text);
    case DType::kString:
      return text;
    default:
      return std::nullopt;
  }
}

/// A value for each output, in every element of it: as many rows as the request has.
class DefaultOutputs final : public Fallback {
 public:
  struct Output {
    DType dtype;
    Shape shape;
    /// Dim 0 is the request's rows.
    bool by_row;
    std::string element;
  };

  explicit DefaultOutputs(std::vector<Output> outputs) : outputs_(std::move(outputs)) {}

  absl::string_view kind() const override { return "defaults"; }
  Question Ask(absl::Span<const Tensor> inputs) const override {
    Question question;
    for (const Tensor& input : inputs) {
      if (input.shape().empty()) continue;
      question.rows = input.rows();
      break;
    }
    return question;
  }
  void Remember(const Question&, absl::Span<const Tensor>) override {}
  std::optional<std::vector<Tensor>> Answer(const Question& question) override {
    std::vector<Tensor> answer;
    for (const Output& output : outputs_) {
      Shape shape = output.shape;
      if (output.by_row) shape[0] = question.rows;
      const absl::StatusOr<uint64_t> elements = NumElements(shape);
      const size_t size = output.element.size();
      if (!elements.ok() || *elements > kMaxBytes / (size + sizeof(uint64_t))) return std::nullopt;
      if (output.dtype == DType::kString) {
        answer.push_back(
            Tensor::OfStrings(std::move(shape), std::vector<absl::string_view>(*elements, output.element)));
        continue;
      }
      Tensor tensor = Tensor::Allocate(output.dtype, std::move(shape));
      char* at = tensor.mutable_bytes();
      for (uint64_t i = 0; i < *elements; ++i, at += size) std::memcpy(at, output.element.data(), size);
      answer.push_back(std::move(tensor));
    }
    return answer;
  }

 private:
  const std::vector<Output> outputs_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Fallback>> NewDefaultOutputs(const OnErrorPolicy& policy, const PortalSpec& spec) {
  std::vector<DefaultOutputs::Output> outputs;
  const std::string* rows = nullptr;
  for (const TensorSpec& declared : spec.outputs) {
    const auto refuse = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat("portal '", spec.node_name, "' to '", spec.target, "': output '",
                                                     declared.name, "': on_error: defaults: ", what));
    };
    const auto value = policy.defaults.find(declared.name);
    if (value == policy.defaults.end()) return refuse("got no value, want one for each output of the portal");
    std::optional<std::string> element = Element(declared.dtype, value->second);
    if (!element.has_value()) {
      return refuse(absl::StrCat("got '", value->second, "', want a value of ", declared.ToString()));
    }
    DefaultOutputs::Output output{declared.dtype, {}, false, *std::move(element)};
    bool known = declared.has_rank;
    for (size_t d = 0; d < declared.dims.size(); ++d) {
      const Dim& dim = declared.dims[d];
      if (dim.extent < 0 && d == 0) {
        if (rows == nullptr) rows = &dim.symbol;
        output.by_row = *rows == dim.symbol;
      }
      known &= dim.extent >= 0 || (d == 0 && output.by_row);
      output.shape.push_back(dim.extent);
    }
    if (!known) {
      return refuse(absl::StrCat("got ", declared.ToString(),
                                 ", want a shape that is known but for the rows of dim 0; let it fail instead"));
    }
    outputs.push_back(std::move(output));
  }
  return std::make_unique<DefaultOutputs>(std::move(outputs));
}

}  // namespace portico
