#include "embedding/table.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "embedding/row_finder.h"

namespace portico {
namespace {

/// Adds rows to where results go, several of a bag at a time.
class RowAdder {
 public:
  RowAdder(const TableSpec& spec, const RowKernels& kernels)
      : spec_(spec),
        add_rows_(kernels.add_rows[static_cast<size_t>(spec.row_type)]),
        add_float_(kernels.add[static_cast<size_t>(RowType::kFloat32)]) {}

  void Add(const char* row, float weight, float* out) {
    rows_[count_] = row;
    weights_[count_] = weight;
    if (++count_ == kRows) Flush(out);
  }
  /// Before `out` is used, and before another one is added to.
  void Flush(float* out) {
    add_rows_(rows_, weights_, count_, spec_.dim, out);
    count_ = 0;
  }
  void AddUnknown(float weight, float* out) const {
    if (spec_.unknown != UnknownId::kDefaultRow) return;
    add_float_(reinterpret_cast<const char*>(spec_.default_row.data()), weight, spec_.dim, out);
  }

 private:
  static constexpr size_t kRows = 32;

  const TableSpec& spec_;
  const RowKernels::AddRows add_rows_;
  const RowKernels::Add add_float_;
  size_t count_ = 0;
  const char* rows_[kRows];
  float weights_[kRows];
};

absl::Status UnknownIdError(const IdBags& bags, size_t i) {
  const std::string id = bags.strings.empty() ? absl::StrCat(bags.ids[i]) : absl::StrCat("'", bags.strings[i], "'");
  return absl::NotFoundError(
      absl::StrCat("id ", i, ": got ", id, ", which the table does not have; or declare what stands for those"));
}

template <typename Finder>
absl::Status PoolRows(Finder& finder, const TableSpec& spec, RowAdder& adder, const IdBags& bags, Pooling pooling,
                      float* out, LookupCounts* counts) {
  const size_t rows = bags.rows(pooling);
  size_t i = 0;
  for (size_t bag = 0; bag < rows; ++bag, out += spec.dim) {
    const size_t end = pooling == Pooling::kNone ? bag + 1
                       : bags.width != 0         ? (bag + 1) * bags.width
                                                 : static_cast<size_t>(bags.offsets[bag + 1]);
    std::fill_n(out, spec.dim, 0.0f);
    size_t members = 0;
    for (; i < end; ++i) {
      finder.Advance(i);
      if (finder.IsPadding(i)) continue;
      ++members;
      const float weight = bags.weights.empty() ? 1.0f : bags.weights[i];
      if (const char* row = finder.Row(i)) {
        adder.Add(row, weight, out);
        continue;
      }
      RETURN_IF_ERROR(finder.status());
      if (spec.unknown == UnknownId::kError) return UnknownIdError(bags, i);
      ++counts->unknown;
      adder.AddUnknown(weight, out);
    }
    adder.Flush(out);
    counts->ids += members;
    if (pooling == Pooling::kMean && members > 1) {
      const float factor = 1.0f / static_cast<float>(members);
      for (size_t d = 0; d < spec.dim; ++d) out[d] *= factor;
    }
  }
  // What was fetched ahead may have failed in the end.
  return finder.status();
}

template <typename Finder>
absl::Status CopyFound(Finder& finder, const TableSpec& spec, absl::string_view unknown_row, const IdBags& bags,
                       size_t row_bytes, char* out, LookupCounts* counts) {
  counts->ids = bags.count();
  for (size_t i = 0; i < bags.count(); ++i, out += row_bytes) {
    finder.Advance(i);
    if (const char* row = finder.Row(i)) {
      std::memcpy(out, row, row_bytes);
      continue;
    }
    RETURN_IF_ERROR(finder.status());
    if (spec.unknown == UnknownId::kError) return UnknownIdError(bags, i);
    ++counts->unknown;
    std::memcpy(out, unknown_row.data(), row_bytes);
  }
  return finder.status();
}

}  // namespace

uint64_t TableMemory::all_rows() const { return overlay == nullptr ? row_count : overlay->row_count(); }

bool TableMemory::expires() const { return overlay != nullptr && overlay->expiring() != 0; }

int64_t TableMemory::Now() const { return expires() ? absl::ToUnixSeconds(clock->Now()) : 0; }

EmbeddingTable::EmbeddingTable(TableSpec spec, const TableMemory& memory, BlockGate* gate, const RowKernels& kernels)
    : spec_(std::move(spec)), memory_(memory), gate_(gate), kernels_(kernels) {
  PORTICO_CHECK(memory.row_count == 0 || memory.stride >= RowHeadBytes(spec_.id_kind) + row_bytes());
  // Zeros are zeros in every row type.
  unknown_row_.resize(row_bytes());
  if (spec_.unknown == UnknownId::kDefaultRow) {
    PORTICO_CHECK(EncodeRow(kernels_, spec_.row_type, spec_.default_row, unknown_row_.data()).ok());
  }
}

absl::Status EmbeddingTable::Named(const absl::Status& status) const {
  return WithContext(absl::StrCat("table '", spec_.name, "'"), status);
}

template <typename Take>
absl::StatusOr<LookupCounts> EmbeddingTable::Read(const IdBags& bags, const Take& take) const {
  const auto run = [&]<IdKind kKind, bool kGated, bool kOverlaid>(LookupCounts* counts) {
    RowFinder<kKind, kGated, kOverlaid> finder(spec_, memory_, gate_, bags);
    return take(finder, counts);
  };
  const auto run_kind = [&]<IdKind kKind>(LookupCounts* counts) {
    const bool gated = gate_ != nullptr && !gate_->AllVerified();
    if (memory_.overlay == nullptr) {
      return gated ? run.template operator()<kKind, true, false>(counts)
                   : run.template operator()<kKind, false, false>(counts);
    }
    return gated ? run.template operator()<kKind, true, true>(counts)
                 : run.template operator()<kKind, false, true>(counts);
  };
  const auto once = [&](LookupCounts* counts) -> absl::Status {
    switch (spec_.id_kind) {
      case IdKind::kDense:
        return run_kind.template operator()<IdKind::kDense>(counts);
      case IdKind::kSparse:
        return run_kind.template operator()<IdKind::kSparse>(counts);
      case IdKind::kString:
        return run_kind.template operator()<IdKind::kString>(counts);
    }
    return absl::OkStatus();
  };
  // Each turn but the last found that memory was gone while it was read. The next one asks before it reads.
  constexpr int kTurns = 16;
  for (int turn = 0; turn < kTurns; ++turn) {
    const uint64_t faults = gate_ == nullptr ? 0 : gate_->Faults();
    LookupCounts counts;
    const absl::Status status = once(&counts);
    if (gate_ != nullptr && gate_->Faults() != faults) continue;
    if (!status.ok()) return Named(status);
    looked_up_ids_.fetch_add(counts.ids, std::memory_order_relaxed);
    if (counts.unknown != 0) unknown_ids_.fetch_add(counts.unknown, std::memory_order_relaxed);
    return counts;
  }
  return Named(absl::DataLossError("memory went away again and again while it was read; restore the file"));
}

absl::StatusOr<LookupCounts> EmbeddingTable::Lookup(const IdBags& bags, Pooling pooling, absl::Span<float> out) const {
  if (absl::Status valid = bags.Validate(spec_, memory_.all_rows(), pooling); !valid.ok()) return Named(valid);
  if (out.size() / spec_.dim != bags.rows(pooling) || out.size() % spec_.dim != 0) {
    return Named(absl::InvalidArgumentError(absl::StrCat("result: got room for ", out.size(), " numbers, want ",
                                                         bags.rows(pooling), " rows of ", spec_.dim)));
  }
  return Read(bags, [&](auto& finder, LookupCounts* counts) {
    RowAdder adder(spec_, kernels_);
    return PoolRows(finder, spec_, adder, bags, pooling, out.data(), counts);
  });
}

absl::StatusOr<LookupCounts> EmbeddingTable::CopyRows(const IdBags& ids, absl::Span<char> out) const {
  if (absl::Status valid = ids.Validate(spec_, memory_.all_rows(), Pooling::kNone); !valid.ok()) return Named(valid);
  if (out.size() / row_bytes() != ids.count() || out.size() % row_bytes() != 0) {
    return Named(absl::InvalidArgumentError(
        absl::StrCat("result: got room for ", out.size(), " bytes, want ", ids.count(), " rows of ", row_bytes())));
  }
  return Read(ids, [&](auto& finder, LookupCounts* counts) {
    return CopyFound(finder, spec_, unknown_row_, ids, row_bytes(), out.data(), counts);
  });
}

}  // namespace portico
