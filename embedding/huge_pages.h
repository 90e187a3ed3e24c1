#pragma once

#include <cstdint>
#include <vector>

#include "embedding/shard_file.h"

namespace portico {

/// A part of a mapped shard file that is moved as one between the file's pages and memory of huge pages. Random reads
/// of 4 KB pages miss the TLB nearly each time; docs/decisions/0032 has what huge ones bring.
struct HugePiece {
  /// In the file; whole huge pages from there on.
  uint64_t offset = 0;
  /// Of a section.
  uint64_t bytes = 0;

  /// What it takes.
  uint64_t huge_bytes() const;
};

/// Of all sections that lookups read: indexes, of which each lookup reads a line, then rows, then strings.
std::vector<HugePiece> HugePiecesOf(const ShardLayout& layout);

/// Verifies a piece, copies it, and puts the copy in the mapping's place in one step, so that readers see the same
/// bytes at the same address all along. False where it is broken or the kernel has no memory: the file's own pages are
/// there as before. Reads of a promoted piece do not touch the file. One thread at a time for each file, which must be
/// a mapped one.
bool PromotePiece(const ShardFile& file, const HugePiece& piece);

/// Puts the file's own pages in the place of a promoted piece, in one step, too. False: the kernel did not.
bool DemotePiece(const ShardFile& file, const HugePiece& piece);

/// As many pieces as fit in `budget_bytes`, in their order; the bytes of memory that took.
uint64_t PromotePieces(const ShardFile& file, uint64_t budget_bytes);

}  // namespace portico
