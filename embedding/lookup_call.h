#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace portico {

/// What a portal wants of a table's rows. The numbers travel: never reuse one.
enum class LookupForm : int32_t {
  /// A sum for each bag, float32[bags, dim]; weighted where the entry has weights.
  kSums = 0,
  /// A row for each id, as the table stores its numbers (EncodedBytes(row type, dim) each): fewer bytes where a bag has
  /// few ids, or many bags share them.
  kRows = 1,
  /// The same for a caller that keeps rows: it is told where some of the table expire, so that they are not always what
  /// this version gives (LookupCall::kMayExpire).
  kRowsToKeep = 2,
};

/// A call of a shard: any number of lookups ("entries"), each in one of its tables. A shard is a servable like any
/// other, whose graph is one node `ai.portico.TableLookup`; these are the names and positions of its tensors.
///
///   inputs                        K entries
///     tables    string[K]         name of the table
///     entries   int32[K,4]        LookupForm; ids; bags (of kSums; else 0); 1 where each id has a weight (of kSums)
///     ids       int64[T]          of tables of numbers, entry after entry; dense ids are rows of this shard
///                                 (ShardMap::LocalRow)
///     strings   string[S]         of tables of strings, likewise
///     lengths   int32[B]          ids of each bag of the entries that want sums, entry after entry
///     weights   float32[W]        of the entries that have them, one for each id
///   outputs
///     rows      uint8[bytes]      of each entry what it wants, each beginning at a multiple of 64 bytes
///     found     int64[K,4]        ids that the table does not have; row type (RowType), of kRowsToKeep maybe with
///                                 kMayExpire; dim; where its rows begin
///
/// What stands for an unknown id is the table's own matter (UnknownId); the counts tell of it.
///
/// Errors: NOT_FOUND a table that is not here, DATA_LOSS a block that is not as it was written (both: another replica
/// may answer); OUT_OF_RANGE an id that the table does not have, where it declares that an error; INVALID_ARGUMENT a
/// call that is not as described, RESOURCE_EXHAUSTED an answer that would be too large.
struct LookupCall {
  static constexpr absl::string_view kSignature = "lookup";
  static constexpr absl::string_view kOp = "TableLookup";

  enum Input { kTables, kEntries, kIds, kStrings, kLengths, kWeights, kInputs };
  enum Output { kRows, kFound, kOutputs };
  static constexpr absl::string_view kInputNames[kInputs] = {"tables",  "entries", "ids",
                                                             "strings", "lengths", "weights"};
  static constexpr absl::string_view kOutputNames[kOutputs] = {"rows", "found"};

  /// Columns of `entries`.
  enum Entry { kForm, kIdCount, kBagCount, kWeighted, kEntryColumns };
  /// Columns of `found`.
  enum Found { kUnknown, kRowType, kDim, kBegin, kFoundColumns };

  /// Added to the row type.
  static constexpr int64_t kMayExpire = 256;

  /// Of one call; more is refused.
  static constexpr int64_t kMaxEntries = 4096;
  static constexpr uint64_t kAlignment = 64;
};

}  // namespace portico
