#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// The pointers of a run folder: symbolic links beside each other, each to a document `revisions/N.yaml`, each moved by
/// one writer, and atomically.
///
///   current   the revision that requests are stamped with where they enter
///   next      the one that is being prepared; none most of the time
///   oldest    the earliest that a request may still be stamped with; those from it to `current` are to be held
struct RevisionPointers {
  uint64_t current = 0;
  /// 0: there is none.
  uint64_t next = 0;
  /// 0: nobody says; each node judges by its own requests.
  uint64_t oldest = 0;
  friend bool operator==(const RevisionPointers&, const RevisionPointers&) = default;
};

/// The document of a revision in a run folder.
std::string RevisionDocument(absl::string_view run_folder, uint64_t number);

/// Leads a pointer ("current", "next", "oldest") to a document, atomically. One writer at a time.
absl::Status MoveRevisionPointer(absl::string_view run_folder, absl::string_view pointer, uint64_t number);
/// Takes it away; nothing happens where it is not there.
void RemoveRevisionPointer(absl::string_view run_folder, absl::string_view pointer);

/// `current`: the path of that pointer; the others are beside it. NOT_FOUND where it is no link to a document.
absl::StatusOr<RevisionPointers> ReadRevisionPointers(const std::string& current);

}  // namespace portico
