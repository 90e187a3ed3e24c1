#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/row_notes.h"
#include "transport/peer_header.h"

namespace portico {

/// A request's row notes as the reply carries them to the caller: the row status of a header, and the bytes that its
/// ranges point to. Lives until the header is encoded. For one thread.
class WireRowNotes {
 public:
  /// Adds `notes` to `header`, which they must outlive.
  void Put(const std::vector<RowNote>& notes, PeerHeader* header);

 private:
  std::vector<std::string> ranges_;
};

/// The row notes that came in a reply, rows as the callee counts them. INVALID_ARGUMENT where they are malformed, or
/// more than RowNotes ever says. Those of rows that have failed have no kind.
absl::StatusOr<std::vector<RowNote>> RowNotesOf(const PeerHeader& header);

}  // namespace portico
