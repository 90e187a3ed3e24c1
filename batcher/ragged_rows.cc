#include "batcher/ragged_rows.h"

#include <cstring>

#include "base/check.h"

namespace portico {
namespace {

/// `count` numbers from `from` on, each with `shift` added, to `to`. Neither need be aligned.
template <typename T>
void CopyShifted(const char* from, int64_t count, int64_t shift, char* to) {
  for (int64_t i = 0; i < count; ++i) {
    T number;
    std::memcpy(&number, from + static_cast<size_t>(i) * sizeof(T), sizeof(T));
    number = static_cast<T>(number + shift);
    std::memcpy(to + static_cast<size_t>(i) * sizeof(T), &number, sizeof(T));
  }
}

template <typename T>
void Put(int64_t number, char*& to) {
  const T narrow = static_cast<T>(number);
  std::memcpy(to, &narrow, sizeof(T));
  to += sizeof(T);
}

template <typename T>
Tensor Join(RowPartition kind, absl::Span<const RaggedRows> calls, int64_t padding, int64_t padding_values) {
  const bool splits = kind == RowPartition::kRowSplits, ids = kind == RowPartition::kSegmentIds;
  int64_t size = (splits ? 1 : 0) + padding * (ids ? padding_values : 1);
  for (const RaggedRows& call : calls) size += ids ? call.values : call.rows;
  Tensor joined = Tensor::Allocate(calls[0].partition.dtype(), {size});
  char* to = joined.mutable_bytes();
  int64_t values = 0, rows = 0;
  if (splits) Put<T>(0, to);
  for (const RaggedRows& call : calls) {
    // The 0 that splits begin with is the end of the call before.
    const char* const from = call.partition.bytes().data() + (splits ? sizeof(T) : 0);
    const int64_t count = ids ? call.values : call.rows;
    CopyShifted<T>(from, count, ids ? rows : values, to);
    to += static_cast<size_t>(count) * sizeof(T);
    values += call.values;
    rows += call.rows;
  }
  for (int64_t row = 0; row < padding; ++row) {
    if (ids) {
      for (int64_t i = 0; i < padding_values; ++i) Put<T>(rows + row, to);
    } else {
      Put<T>(values + (row + (splits ? 1 : 0)) * padding_values, to);
    }
  }
  return joined;
}

}  // namespace

Tensor JoinPartitions(RowPartition kind, absl::Span<const RaggedRows> calls, int64_t padding, int64_t padding_values) {
  PORTICO_CHECK(!calls.empty() && kind != RowPartition::kNone && kind != RowPartition::kRowLengths);
  return calls[0].partition.dtype() == DType::kInt64 ? Join<int64_t>(kind, calls, padding, padding_values)
                                                     : Join<int32_t>(kind, calls, padding, padding_values);
}

Tensor CutPartition(RowPartition kind, const Tensor& partition, int64_t begin, int64_t count, int64_t first_value,
                    int64_t values) {
  PORTICO_CHECK(kind != RowPartition::kNone && kind != RowPartition::kRowLengths);
  const bool ids = kind == RowPartition::kSegmentIds;
  const int64_t from = ids ? first_value : begin;
  const int64_t size = ids ? values : count + (kind == RowPartition::kRowSplits ? 1 : 0);
  Tensor cut = Tensor::Allocate(partition.dtype(), {size});
  const auto width = static_cast<int64_t>(BitsPerElement(partition.dtype()) / 8);
  const char* const numbers = partition.bytes().data() + from * width;
  const int64_t shift = ids ? -begin : -first_value;
  if (partition.dtype() == DType::kInt64) {
    CopyShifted<int64_t>(numbers, size, shift, cut.mutable_bytes());
  } else {
    CopyShifted<int32_t>(numbers, size, shift, cut.mutable_bytes());
  }
  return cut;
}

}  // namespace portico
