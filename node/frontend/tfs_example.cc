#include "node/frontend/tfs_example.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/wire.h"
#include "codec/tf_dtype.h"

namespace portico {
namespace {

constexpr size_t kMaxExamples = 1 << 20;

absl::Status Malformed() { return absl::InvalidArgumentError("Input: malformed protobuf"); }

/// The oneof of tensorflow.Feature, by field number.
enum class FeatureKind : uint32_t { kNone = 0, kBytes = 1, kFloat = 2, kInt64 = 3 };

absl::string_view FeatureKindName(FeatureKind kind) {
  switch (kind) {
    case FeatureKind::kBytes:
      return "bytes_list";
    case FeatureKind::kFloat:
      return "float_list";
    case FeatureKind::kInt64:
      return "int64_list";
    case FeatureKind::kNone:
      break;
  }
  return "no values";
}

FeatureKind KindFor(DType dtype) {
  switch (dtype) {
    case DType::kFloat:
    case DType::kDouble:
      return FeatureKind::kFloat;
    case DType::kInt64:
    case DType::kInt32:
    case DType::kInt16:
    case DType::kInt8:
    case DType::kUint64:
    case DType::kUint32:
    case DType::kUint16:
    case DType::kUint8:
    case DType::kBool:
      return FeatureKind::kInt64;
    case DType::kString:
      return FeatureKind::kBytes;
    default:
      return FeatureKind::kNone;
  }
}

/// A tensorflow.Feature: its kind, and the fields of that kind (of several lists of one kind the values add up).
struct Feature {
  FeatureKind kind = FeatureKind::kNone;
  absl::string_view lists;
};

bool ReadFeature(absl::string_view bytes, Feature* feature) {
  *feature = Feature();
  absl::string_view from = bytes;
  WireReader in(bytes);
  while (in.Next()) {
    const uint32_t field = in.field();
    if (field < 1 || field > 3) continue;
    in.Bytes();
    const auto kind = static_cast<FeatureKind>(field);
    if (kind != feature->kind) *feature = {kind, from};
    from = in.rest();
  }
  return !in.failed();
}

/// Calls `each(list)` with the content of each list of the feature. False when malformed.
template <typename Each>
bool ForEachList(const Feature& feature, Each each) {
  WireReader in(feature.lists);
  while (in.Next()) {
    if (static_cast<FeatureKind>(in.field()) == feature.kind && !each(in.Bytes())) return false;
  }
  return !in.failed();
}

/// Calls `packed(bytes)` for packed runs and `one(reader)` for single values of a list. False when malformed.
template <typename Packed, typename One>
bool ForEachRun(absl::string_view list, Packed packed, One one) {
  WireReader in(list);
  while (in.Next()) {
    if (in.field() != 1) continue;
    if (in.is(WireReader::Type::kBytes) ? !packed(in.Bytes()) : !one(in)) return false;
  }
  return !in.failed();
}

/// Values of a feature; −1 when malformed.
int64_t CountValues(const Feature& feature) {
  int64_t count = 0;
  const bool read = ForEachList(feature, [&](absl::string_view list) {
    return ForEachRun(
        list,
        [&](absl::string_view run) {
          if (feature.kind == FeatureKind::kBytes) {
            ++count;
          } else if (feature.kind == FeatureKind::kFloat) {
            if (run.size() % sizeof(float) != 0) return false;
            count += static_cast<int64_t>(run.size() / sizeof(float));
          } else {
            count += std::count_if(run.begin(), run.end(), [](char c) { return (c & 0x80) == 0; });
          }
          return true;
        },
        [&](WireReader&) {
          ++count;
          return feature.kind != FeatureKind::kBytes;
        });
  });
  return read ? count : -1;
}

enum class Written { kDone, kMalformed, kOutOfRange };

/// `count` values of a float_list, as T.
template <typename T>
Written WriteFloats(const Feature& feature, char* out) {
  const bool read = ForEachList(feature, [&](absl::string_view list) {
    return ForEachRun(
        list,
        [&](absl::string_view run) {
          if constexpr (std::is_same_v<T, float>) {
            std::memcpy(out, run.data(), run.size());
            out += run.size();
          } else {
            for (size_t at = 0; at < run.size(); at += sizeof(float)) {
              float value;
              std::memcpy(&value, run.data() + at, sizeof(value));
              const T wide = value;
              std::memcpy(out, &wide, sizeof(wide));
              out += sizeof(wide);
            }
          }
          return true;
        },
        [&](WireReader& in) {
          const T value = in.Float();
          std::memcpy(out, &value, sizeof(value));
          out += sizeof(value);
          return true;
        });
  });
  return read ? Written::kDone : Written::kMalformed;
}

/// Values of an int64_list, as T. Those of uint64 travel as their two's complement.
template <typename T>
Written WriteIntegers(const Feature& feature, char* out) {
  Written written = Written::kDone;
  const auto put = [&](uint64_t bits) {
    const auto number = static_cast<int64_t>(bits);
    if constexpr (sizeof(T) < sizeof(int64_t)) {
      if (number < int64_t{std::numeric_limits<T>::min()} || number > int64_t{std::numeric_limits<T>::max()}) {
        written = Written::kOutOfRange;
        return false;
      }
    }
    const T value = static_cast<T>(bits);
    std::memcpy(out, &value, sizeof(value));
    out += sizeof(value);
    return true;
  };
  const bool read = ForEachList(feature, [&](absl::string_view list) {
    return ForEachRun(
        list,
        [&](absl::string_view run) {
          uint64_t bits = 0;
          while (!run.empty()) {
            if (!ConsumeVarint(&run, &bits) || !put(bits)) return false;
          }
          return true;
        },
        [&](WireReader& in) { return put(in.Varint()); });
  });
  return read || written != Written::kDone ? written : Written::kMalformed;
}

Written WriteNumbers(DType dtype, const Feature& feature, char* out) {
  switch (dtype) {
    case DType::kFloat:
      return WriteFloats<float>(feature, out);
    case DType::kDouble:
      return WriteFloats<double>(feature, out);
    case DType::kInt64:
      return WriteIntegers<int64_t>(feature, out);
    case DType::kInt32:
      return WriteIntegers<int32_t>(feature, out);
    case DType::kInt16:
      return WriteIntegers<int16_t>(feature, out);
    case DType::kInt8:
      return WriteIntegers<int8_t>(feature, out);
    case DType::kUint64:
      return WriteIntegers<uint64_t>(feature, out);
    case DType::kUint32:
      return WriteIntegers<uint32_t>(feature, out);
    case DType::kUint16:
      return WriteIntegers<uint16_t>(feature, out);
    case DType::kUint8:
      return WriteIntegers<uint8_t>(feature, out);
    default:
      return WriteIntegers<bool>(feature, out);
  }
}

/// The rows of one input, filled example by example.
class InputRows {
 public:
  InputRows(const TensorSpec& spec, int64_t examples) : spec_(spec), examples_(examples) {}

  /// Learns the shape of a row from the first example's feature, and takes memory. Never more than `*max_bytes`, which
  /// shrinks by that.
  absl::Status Prepare(const Feature& feature, uint64_t* max_bytes) {
    RETURN_IF_ERROR(CheckFeature(0, feature));
    const int64_t count = CountValues(feature);
    if (count < 0) return Malformed();
    RETURN_IF_ERROR(SetRowShape(count));
    const uint64_t bytes_of_value = spec_.dtype == DType::kString ? 2 * sizeof(uint64_t) : SizeOf();
    ASSIGN_OR_RETURN(const uint64_t elements, NumElements(shape_));
    if (elements > *max_bytes / bytes_of_value) {
      return TooLarge(*max_bytes);
    }
    *max_bytes -= elements * bytes_of_value;
    if (spec_.dtype == DType::kString) {
      strings_.reserve(elements);
    } else {
      tensor_ = Tensor::Allocate(spec_.dtype, shape_);
    }
    return absl::OkStatus();
  }

  /// Examples in order. Bytes of strings count against `*max_bytes`, too: a context's are copied for each example.
  absl::Status Add(int64_t example, const Feature& feature, uint64_t* max_bytes) {
    RETURN_IF_ERROR(CheckFeature(example, feature));
    const int64_t count = CountValues(feature);
    if (count < 0) return Malformed();
    if (count != row_length_) {
      return absl::InvalidArgumentError(absl::StrCat("example ", example, ": feature '", spec_.name, "': got ", count,
                                                     " values, want ", row_length_, " as ", spec_.ToString(),
                                                     example == 0 ? " takes" : " and the first example have it"));
    }
    if (spec_.dtype == DType::kString) {
      const bool fits = ForEachList(feature, [&](absl::string_view list) {
        return ForEachRun(
            list,
            [&](absl::string_view value) {
              strings_.push_back(value);
              return std::exchange(*max_bytes, *max_bytes - std::min<uint64_t>(*max_bytes, value.size())) >=
                     value.size();
            },
            [](WireReader&) { return false; });
      });
      return fits ? absl::OkStatus() : TooLarge(*max_bytes);
    }
    switch (WriteNumbers(
        spec_.dtype, feature,
        tensor_.mutable_bytes() + static_cast<uint64_t>(example) * static_cast<uint64_t>(row_length_) * SizeOf())) {
      case Written::kDone:
        return absl::OkStatus();
      case Written::kMalformed:
        return Malformed();
      case Written::kOutOfRange:
        break;
    }
    return absl::InvalidArgumentError(absl::StrCat("example ", example, ": feature '", spec_.name,
                                                   "': got a value out of range, want ", TfTypeName(spec_.dtype)));
  }

  Tensor Finish() {
    return spec_.dtype == DType::kString ? Tensor::OfStrings(shape_, absl::MakeConstSpan(strings_))
                                         : std::move(tensor_);
  }

 private:
  uint64_t SizeOf() const { return BytesFor(spec_.dtype, 1); }

  absl::Status TooLarge(uint64_t left) const {
    return absl::ResourceExhaustedError(
        absl::StrCat("feature '", spec_.name, "': got ", examples_, " examples of ", row_length_,
                     " values, want tensors that fit the ", left,
                     " bytes that are left of the request's limit; send fewer examples"));
  }

  absl::Status CheckFeature(int64_t example, const Feature& feature) const {
    const FeatureKind want = KindFor(spec_.dtype);
    if (want == FeatureKind::kNone) {
      return absl::UnimplementedError(absl::StrCat("input '", spec_.name, "': want ", spec_.ToString(),
                                                   ", which no feature of an Example can hold; use Predict"));
    }
    if (feature.kind == want) return absl::OkStatus();
    if (feature.kind == FeatureKind::kNone) {
      return absl::InvalidArgumentError(absl::StrCat("example ", example, ": Feature: ", spec_.name, " (data type: ",
                                                     TfTypeName(spec_.dtype), ") is required but could not be found."));
    }
    return absl::InvalidArgumentError(absl::StrCat("example ", example, ": feature '", spec_.name, "': got ",
                                                   FeatureKindName(feature.kind), ", want ", FeatureKindName(want),
                                                   " for ", spec_.ToString()));
  }

  /// Dim 0 counts examples; `count` values fill the rest, of which one extent may be unknown.
  absl::Status SetRowShape(int64_t count) {
    if (spec_.has_rank && spec_.dims.empty()) {
      return absl::UnimplementedError(
          absl::StrCat("input '", spec_.name, "': want a scalar, but examples make rows; use Predict"));
    }
    shape_ = {examples_};
    row_length_ = count;
    if (!spec_.has_rank) {
      shape_.push_back(count);
      return absl::OkStatus();
    }
    int64_t known = 1;
    int unknown = -1;
    for (size_t d = 1; d < spec_.dims.size(); ++d) {
      const int64_t extent = spec_.dims[d].extent;
      if (extent >= 0) {
        if (__builtin_mul_overflow(known, extent, &known)) {
          return absl::InvalidArgumentError(
              absl::StrCat("input '", spec_.name, "': want ", spec_.ToString(), ", which no request can fill"));
        }
      } else if (std::exchange(unknown, static_cast<int>(d)) >= 0) {
        return absl::UnimplementedError(absl::StrCat("input '", spec_.name, "': want ", spec_.ToString(),
                                                     ", of which a feature's length does not tell the shape; "
                                                     "use Predict"));
      }
      shape_.push_back(extent);
    }
    if (unknown < 0) {
      row_length_ = known;
    } else if (known > 0 && count % known == 0) {
      shape_[static_cast<size_t>(unknown)] = count / known;
    } else {
      return absl::InvalidArgumentError(absl::StrCat("example 0: feature '", spec_.name, "': got ", count,
                                                     " values, want a multiple of ", known, " for ", spec_.ToString()));
    }
    return absl::OkStatus();
  }

  const TensorSpec& spec_;
  const int64_t examples_;
  Shape shape_;
  int64_t row_length_ = 0;
  Tensor tensor_;
  std::vector<absl::string_view> strings_;
};

using Features = absl::InlinedVector<Feature, 8>;

/// Puts an Example's features at the places of the signature's inputs of their names, over what is there.
bool ReadFeatures(const Signature& signature, absl::string_view example, Features* features) {
  WireReader fields(example);
  while (fields.Next()) {
    if (fields.field() != 1) continue;
    WireReader map(fields.Bytes());
    while (map.Next()) {
      if (map.field() != 1) continue;
      absl::string_view name, feature;
      WireReader entry(map.Bytes());
      while (entry.Next()) {
        if (entry.field() == 1) name = entry.Bytes();
        if (entry.field() == 2) feature = entry.Bytes();
      }
      if (entry.failed()) return false;
      const int index = signature.InputIndex(name);
      if (index >= 0 && !ReadFeature(feature, &(*features)[static_cast<size_t>(index)])) return false;
    }
    if (map.failed()) return false;
  }
  return !fields.failed();
}

/// Whether the signature wants examples as they came.
bool TakesSerialised(const Signature& signature) {
  if (signature.inputs.size() != 1) return false;
  const TensorSpec& input = signature.inputs[0];
  return input.name == "inputs" && input.dtype == DType::kString && (!input.has_rank || input.dims.size() == 1);
}

/// A message's fields behind another's are the two merged: the context's features, then the example's, which win.
absl::StatusOr<Tensor> SerialisedExamples(const ExamplesView& view, uint64_t max_bytes) {
  const auto rows = static_cast<int64_t>(view.examples.size());
  if (view.context.empty()) return Tensor::OfStrings({rows}, absl::MakeConstSpan(view.examples));
  uint64_t bytes = 0;
  for (const absl::string_view example : view.examples) bytes += view.context.size() + example.size();
  if (bytes > max_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat("Input: got ", rows, " examples with a context of ",
                                                     view.context.size(), " bytes, want at most ", max_bytes,
                                                     " bytes of tensors in a request; send fewer examples"));
  }
  std::vector<std::string> merged;
  merged.reserve(view.examples.size());
  for (const absl::string_view example : view.examples) merged.push_back(absl::StrCat(view.context, example));
  return Tensor::OfStrings({rows}, absl::MakeConstSpan(merged));
}

}  // namespace

absl::StatusOr<ExamplesView> ReadExamples(absl::string_view input) {
  ExamplesView view;
  WireReader in(input);
  while (in.Next()) {
    if (in.field() != 1 && in.field() != 2) continue;
    view = ExamplesView();  // A oneof: the last counts.
    const bool has_context = in.field() == 2;
    WireReader list(in.Bytes());
    while (list.Next()) {
      if (list.field() == 1) {
        if (view.examples.size() == kMaxExamples) {
          return absl::InvalidArgumentError(
              absl::StrCat("Input: got over ", kMaxExamples, " examples, want at most that"));
        }
        view.examples.push_back(list.Bytes());
      } else if (list.field() == 2 && has_context) {
        view.context = list.Bytes();
      }
    }
    if (list.failed()) return Malformed();
  }
  if (in.failed()) return Malformed();
  if (view.examples.empty()) return absl::InvalidArgumentError("Input is empty.");
  return view;
}

absl::StatusOr<std::vector<Tensor>> ExampleTensors(const Signature& signature, const ExamplesView& examples,
                                                   uint64_t max_bytes) {
  std::vector<Tensor> tensors;
  tensors.reserve(signature.inputs.size());
  if (TakesSerialised(signature)) {
    ASSIGN_OR_RETURN(Tensor serialised, SerialisedExamples(examples, max_bytes));
    tensors.push_back(std::move(serialised));
    return tensors;
  }
  const auto count = static_cast<int64_t>(examples.examples.size());
  Features shared(signature.inputs.size());
  if (!ReadFeatures(signature, examples.context, &shared)) return Malformed();
  std::vector<InputRows> rows;
  rows.reserve(signature.inputs.size());
  for (const TensorSpec& input : signature.inputs) rows.emplace_back(input, count);
  Features own;
  for (int64_t i = 0; i < count; ++i) {
    own = shared;
    if (!ReadFeatures(signature, examples.examples[static_cast<size_t>(i)], &own)) return Malformed();
    for (size_t input = 0; input < rows.size(); ++input) {
      if (i == 0) RETURN_IF_ERROR(rows[input].Prepare(own[input], &max_bytes));
      RETURN_IF_ERROR(rows[input].Add(i, own[input], &max_bytes));
    }
  }
  for (InputRows& input : rows) tensors.push_back(input.Finish());
  return tensors;
}

}  // namespace portico
