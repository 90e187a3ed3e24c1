#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace portico {

/// Collects one tensor from nested lists of JSON values: learns the shape from the nesting, checks that it is not
/// ragged, and writes elements straight into the memory that the tensor then views. Knows no JSON parser. For one
/// thread.
///
/// A value sits at a depth: 0 for the tensor as a whole, d for what is inside d lists. BeginList(d) and EndList(d,
/// length) enclose a list at depth d; an element at depth d is Append…(d, value). Messages are those of the TensorFlow
/// Serving API.
class JsonTensorBuilder {
 public:
  /// Lists within lists; deeper ones are refused before they are descended into.
  static constexpr size_t kMaxRank = 64;

  /// `name`, for messages, is not owned and must outlive the builder. `declared`: the shape of a tensor whose lists end
  /// before its elements would begin, as in []; extents below 0 are not known. `text_end`: where the text ends that the
  /// values are read from, which helps to foresee how much memory they take; null: not known.
  JsonTensorBuilder(absl::string_view name, DType dtype, Shape declared = {}, const char* text_end = nullptr);

  absl::string_view name() const { return name_; }
  DType dtype() const { return dtype_; }

  absl::Status BeginList(size_t depth);
  absl::Status EndList(size_t depth, int64_t length);
  /// Each writes the element as the dtype. False where that cannot hold it: the caller says what it was.
  bool AppendSigned(int64_t value);
  bool AppendUnsigned(uint64_t value);
  void AppendReal(double value);
  void AppendBool(bool value);
  void AppendString(absl::string_view value);
  /// Elements of one list, in place of Append…() for each: memory for them, as the dtype. `at`: about where the text
  /// has been read to. REQUIRES: BeginElement() for the list.
  void AppendRun(absl::string_view elements, const char* at) {
    if (elements.size() > data_.capacity() - data_.size()) GrowFor(elements.size(), at);
    data_.append(elements.data(), elements.size());
  }
  /// Before each Append…(): the element's place.
  absl::Status BeginElement(size_t depth);

  /// The tensor. Call it once, last.
  absl::StatusOr<Tensor> Finish();

 private:
  template <typename T>
  void Push(T value) {
    data_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  absl::Status WrongShape(size_t depth, absl::string_view got) const;
  void GrowFor(size_t bytes, const char* at);

  const absl::string_view name_;
  const DType dtype_;
  const Shape declared_;
  const char* const text_end_;
  /// Where the text was, and how much there was, when memory first grew.
  const char* grown_at_ = nullptr;
  size_t grown_bytes_ = 0;
  /// Lengths of the lists at each depth; −1 until the first one has ended.
  Shape shape_;
  /// Depth of elements; −1 until the first.
  int rank_ = -1;
  /// Elements one after the other; of strings their bytes.
  std::string data_;
  /// Ends of strings, the first 0.
  std::vector<uint64_t> offsets_;
};

/// How JSON values become elements of a dtype.
enum class JsonKind { kSigned, kUnsigned, kReal, kBool, kString, kUnsupported };
JsonKind JsonKindOf(DType dtype);

}  // namespace portico
