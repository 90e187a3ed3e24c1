#include "base/row_partition.h"

#include <array>
#include <cstring>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr std::array<RowPartition, 4> kKinds = {RowPartition::kRowSplits, RowPartition::kRowStarts,
                                                RowPartition::kRowLengths, RowPartition::kSegmentIds};

template <typename T>
T Load(const char* from, int64_t index) {
  T number;
  std::memcpy(&number, from + static_cast<size_t>(index) * sizeof(T), sizeof(T));
  return number;
}

/// "got 3 behind 5 at 2, want ...".
absl::Status Refused(int64_t number, absl::string_view where, absl::string_view want) {
  return absl::InvalidArgumentError(absl::StrCat("got ", number, where, ", want ", want));
}

/// The index of the first number that is below the one before it, or not in [0, most]; −1: there is none.
template <typename T>
int64_t FirstOutOfOrder(const Tensor& partition, int64_t most) {
  const char* const numbers = partition.bytes().data();
  int64_t before = 0;
  for (int64_t i = 0; i < partition.rows(); ++i) {
    const int64_t number = Load<T>(numbers, i);
    if (number < before || number > most) return i;
    before = number;
  }
  return -1;
}

absl::Status OutOfOrder(const Tensor& partition, int64_t at, absl::string_view want) {
  const std::string behind = at == 0 ? "" : absl::StrCat(" behind ", PartitionAt(partition, at - 1));
  return Refused(PartitionAt(partition, at), absl::StrCat(" at ", at, behind), want);
}

template <typename T>
absl::Status CheckLengths(const Tensor& partition, int64_t values) {
  const char* const numbers = partition.bytes().data();
  int64_t sum = 0;
  for (int64_t i = 0; i < partition.rows(); ++i) {
    const int64_t number = Load<T>(numbers, i);
    if (number < 0) return Refused(number, absl::StrCat(" at ", i), "lengths from 0 on");
    // Neither is over 2^63: the difference cannot overflow where the sum could.
    if (number > values - sum) {
      return Refused(number, absl::StrCat(" at ", i, ", behind rows of ", sum, " values"),
                     absl::StrCat("lengths that add up to its ", values, " values"));
    }
    sum += number;
  }
  if (sum == values) return absl::OkStatus();
  return Refused(sum, " as sum", absl::StrCat("lengths that add up to its ", values, " values"));
}

template <typename T>
absl::Status Check(RowPartition kind, const Tensor& partition, int64_t values, int64_t rows) {
  if (kind == RowPartition::kRowLengths) return CheckLengths<T>(partition, values);
  if (kind == RowPartition::kSegmentIds) {
    if (partition.rows() != values) {
      return Refused(partition.rows(), " numbers", absl::StrCat("one for each of its ", values, " values"));
    }
    const int64_t most = rows < 0 ? std::numeric_limits<int64_t>::max() : rows - 1;
    const int64_t bad = FirstOutOfOrder<T>(partition, most);
    if (bad < 0) return absl::OkStatus();
    return OutOfOrder(partition, bad, absl::StrCat("row numbers that do not fall, from 0 to ", most));
  }
  const bool splits = kind == RowPartition::kRowSplits;
  if (partition.rows() == 0) {
    if (!splits && values == 0) return absl::OkStatus();
    return Refused(0, " numbers", splits ? "one more than rows" : absl::StrCat("rows for its ", values, " values"));
  }
  const char* const numbers = partition.bytes().data();
  if (const int64_t first = Load<T>(numbers, 0); first != 0) return Refused(first, " at 0", "offsets that begin at 0");
  if (const int64_t bad = FirstOutOfOrder<T>(partition, values); bad >= 0) {
    return OutOfOrder(partition, bad, absl::StrCat("offsets that do not fall, up to its ", values, " values"));
  }
  const int64_t last = Load<T>(numbers, partition.rows() - 1);
  if (!splits || last == values) return absl::OkStatus();
  return Refused(last, " at the end", absl::StrCat("its ", values, " values"));
}

}  // namespace

absl::string_view RowPartitionName(RowPartition kind) {
  switch (kind) {
    case RowPartition::kNone:
      return "";
    case RowPartition::kRowSplits:
      return "row_splits";
    case RowPartition::kRowStarts:
      return "row_starts";
    case RowPartition::kRowLengths:
      return "row_lengths";
    case RowPartition::kSegmentIds:
      return "segment_ids";
  }
  return "";
}

RowPartition RowPartitionOf(absl::string_view name) {
  for (const RowPartition kind : kKinds) {
    if (name == RowPartitionName(kind)) return kind;
  }
  return RowPartition::kNone;
}

int64_t RowsOfPartition(RowPartition kind, const Tensor& partition) {
  if (partition.shape().size() != 1 || kind == RowPartition::kNone || kind == RowPartition::kSegmentIds) return -1;
  return kind == RowPartition::kRowSplits ? partition.rows() - 1 : partition.rows();
}

absl::StatusOr<int64_t> CheckRowPartition(RowPartition kind, const Tensor& partition, int64_t values, int64_t rows) {
  const bool wide = partition.dtype() == DType::kInt64;
  if ((!wide && partition.dtype() != DType::kInt32) || partition.shape().size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat("got ", DTypeName(partition.dtype()), ShapeString(partition.shape()),
                                                   ", want int32 or int64 of rank 1"));
  }
  RETURN_IF_ERROR(wide ? Check<int64_t>(kind, partition, values, rows) : Check<int32_t>(kind, partition, values, rows));
  return RowsOfPartition(kind, partition);
}

int64_t PartitionAt(const Tensor& partition, int64_t index) {
  const char* const numbers = partition.bytes().data();
  return partition.dtype() == DType::kInt64 ? Load<int64_t>(numbers, index) : Load<int32_t>(numbers, index);
}

int64_t ValuesOfRows(RowPartition kind, const Tensor& partition, int64_t values, int64_t first, int64_t begin,
                     int64_t count) {
  int64_t end = values;
  switch (kind) {
    case RowPartition::kNone:
      return 0;
    case RowPartition::kRowLengths: {
      int64_t sum = 0;
      for (int64_t row = begin; row < begin + count; ++row) sum += PartitionAt(partition, row);
      return sum;
    }
    case RowPartition::kRowSplits:
    case RowPartition::kRowStarts:
      if (begin + count < partition.rows()) end = PartitionAt(partition, begin + count);
      return end - first;
    case RowPartition::kSegmentIds: {
      int64_t from = first;
      while (from < end) {
        const int64_t middle = from + (end - from) / 2;
        if (PartitionAt(partition, middle) < begin + count) {
          from = middle + 1;
        } else {
          end = middle;
        }
      }
      return from - first;
    }
  }
  return 0;
}

}  // namespace portico
