#include "codec/json_tensor_builder.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/small_float.h"

namespace portico {
namespace {

/// Memory that a builder filled.
class StringOrigin final : public TensorOrigin {
 public:
  explicit StringOrigin(std::string data) : TensorOrigin(data.capacity()), data_(std::move(data)) {}
  absl::string_view bytes() const { return data_; }

 private:
  const std::string data_;
};

template <typename T, typename V>
bool Fits(V value) {
  return value >= static_cast<V>(std::numeric_limits<T>::min()) &&
         value <= static_cast<V>(std::numeric_limits<T>::max());
}

}  // namespace

JsonKind JsonKindOf(DType dtype) {
  switch (dtype) {
    case DType::kInt4:
    case DType::kInt8:
    case DType::kInt16:
    case DType::kInt32:
    case DType::kInt64:
      return JsonKind::kSigned;
    case DType::kUint4:
    case DType::kUint8:
    case DType::kUint16:
    case DType::kUint32:
    case DType::kUint64:
      return JsonKind::kUnsigned;
    case DType::kFloat:
    case DType::kDouble:
    case DType::kFloat16:
    case DType::kBfloat16:
      return JsonKind::kReal;
    case DType::kBool:
      return JsonKind::kBool;
    case DType::kString:
      return JsonKind::kString;
    default:
      return JsonKind::kUnsupported;
  }
}

JsonTensorBuilder::JsonTensorBuilder(absl::string_view name, DType dtype, Shape declared, const char* text_end)
    : name_(name), dtype_(dtype), declared_(std::move(declared)), text_end_(text_end) {
  if (dtype == DType::kString) offsets_.push_back(0);
}

void JsonTensorBuilder::GrowFor(size_t bytes, const char* at) {
  const size_t needed = data_.size() + bytes;
  if (text_end_ == nullptr || grown_at_ == nullptr || at <= grown_at_) {
    // How much text an element takes is not known yet.
    grown_at_ = at;
    grown_bytes_ = needed;
    return data_.reserve(2 * needed);
  }
  // What is left of the text, at the density seen so far, and a little more: else everything would be copied again and
  // again. No element takes less than two bytes.
  const double left = static_cast<double>(text_end_ - at) * 1.06;
  const double density = static_cast<double>(needed - grown_bytes_) / static_cast<double>(at - grown_at_);
  constexpr double kDensest = sizeof(double) / 2.0;
  const auto foreseen = static_cast<size_t>(left * std::min(density, kDensest));
  data_.reserve(needed + std::max(foreseen, needed / 4));
}

absl::Status JsonTensorBuilder::WrongShape(size_t depth, absl::string_view got) const {
  return absl::InvalidArgumentError(absl::StrCat("JSON value of '", name_, "': Expecting shape ", ShapeString(shape_),
                                                 " but got ", got, " inside ", depth, " lists"));
}

absl::Status JsonTensorBuilder::BeginList(size_t depth) {
  if (rank_ >= 0 && depth >= static_cast<size_t>(rank_)) return WrongShape(depth, "a list");
  if (depth >= kMaxRank) {
    return absl::InvalidArgumentError(
        absl::StrCat("JSON value of '", name_, "': got lists nested deeper than ", kMaxRank, ", want at most that"));
  }
  if (depth == shape_.size()) shape_.push_back(-1);
  return absl::OkStatus();
}

absl::Status JsonTensorBuilder::EndList(size_t depth, int64_t length) {
  int64_t& extent = shape_[depth];
  if (extent < 0) extent = length;
  if (extent == length) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("JSON value of '", name_, "': Expecting tensor size: ", extent, " but got: ", length));
}

absl::Status JsonTensorBuilder::BeginElement(size_t depth) {
  if (rank_ == static_cast<int>(depth)) return absl::OkStatus();
  if (rank_ >= 0 || depth < shape_.size()) return WrongShape(depth, "a value");
  rank_ = static_cast<int>(depth);
  return absl::OkStatus();
}

bool JsonTensorBuilder::AppendSigned(int64_t value) {
  switch (dtype_) {
    case DType::kInt64:
      Push(value);
      return true;
    case DType::kInt32:
      Push(static_cast<int32_t>(value));
      return Fits<int32_t>(value);
    case DType::kInt16:
      Push(static_cast<int16_t>(value));
      return Fits<int16_t>(value);
    case DType::kInt8:
      Push(static_cast<int8_t>(value));
      return Fits<int8_t>(value);
    default:
      Push(static_cast<int8_t>(value));
      return value >= -8 && value <= 7;  // int4, packed in Finish()
  }
}

bool JsonTensorBuilder::AppendUnsigned(uint64_t value) {
  switch (dtype_) {
    case DType::kUint64:
      Push(value);
      return true;
    case DType::kUint32:
      Push(static_cast<uint32_t>(value));
      return Fits<uint32_t>(value);
    case DType::kUint16:
      Push(static_cast<uint16_t>(value));
      return Fits<uint16_t>(value);
    case DType::kUint8:
      Push(static_cast<uint8_t>(value));
      return Fits<uint8_t>(value);
    default:
      Push(static_cast<uint8_t>(value));
      return value <= 15;  // uint4
  }
}

void JsonTensorBuilder::AppendReal(double value) {
  switch (dtype_) {
    case DType::kDouble:
      Push(value);
      break;
    case DType::kFloat16:
      Push(HalfFromFloat(static_cast<float>(value)));
      break;
    case DType::kBfloat16:
      Push(BfloatFromFloat(static_cast<float>(value)));
      break;
    default:
      Push(static_cast<float>(value));
      break;
  }
}

void JsonTensorBuilder::AppendBool(bool value) { Push(value); }

void JsonTensorBuilder::AppendString(absl::string_view value) {
  data_.append(value.data(), value.size());
  offsets_.push_back(data_.size());
}

absl::StatusOr<Tensor> JsonTensorBuilder::Finish() {
  // Without elements the nesting may end early, as in []: the declaration says what is left.
  if (rank_ < 0) {
    for (size_t d = shape_.size(); d < declared_.size(); ++d) shape_.push_back(std::max<int64_t>(declared_[d], 0));
  }
  if (dtype_ == DType::kString) {
    const size_t table = offsets_.size() * sizeof(uint64_t);
    data_.insert(0, reinterpret_cast<const char*>(offsets_.data()), table);
  } else if (BitsPerElement(dtype_) == 4) {
    for (size_t i = 0; i < data_.size(); ++i) {
      const auto nibble = static_cast<char>(data_[i] & 0x0f);
      data_[i / 2] = i % 2 == 0 ? nibble : static_cast<char>(data_[i / 2] | static_cast<char>(nibble << 4));
    }
    data_.resize((data_.size() + 1) / 2);
  }
  // More was foreseen than came: other tensors' text, say. The origin counts what it holds.
  if (data_.capacity() / 2 > data_.size()) data_.shrink_to_fit();
  auto origin = MakeRef<StringOrigin>(std::move(data_));
  const absl::string_view bytes = origin->bytes();
  return Tensor::View(dtype_, std::move(shape_), bytes, std::move(origin));
}

}  // namespace portico
