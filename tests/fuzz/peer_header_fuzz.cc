#include "tests/fuzz/fuzz.h"
#include "transport/peer_header.h"
#include "transport/wire_row_notes.h"

namespace portico {
namespace {

void FuzzOne(absl::string_view input) {
  const FuzzOrigin exact(input);
  PeerHeader header;
  PeerLimits limits;
  if (!DecodeHeader(exact.bytes(), limits, &header).ok()) return;
  FuzzCheck(header.tensors.size() <= limits.max_tensors, "tensors are bounded");
  for (const TensorMeta& tensor : header.tensors) {
    FuzzCheck(tensor.shape.size() <= limits.max_rank && tensor.bytes <= limits.max_frame_bytes, "tensors are bounded");
  }
  // What was read, written and read again, is the same.
  std::string written, again;
  EncodeHeader(header, &written);
  PeerHeader second;
  FuzzCheckOk(DecodeHeader(written, limits, &second), "what was written is read");
  EncodeHeader(second, &again);
  FuzzCheck(written == again, "the header is the same");
  const auto notes = RowNotesOf(header);
  if (!notes.ok()) return;
  FuzzCheck(notes->size() <= RowNotes::kMaxNotes, "row notes are bounded");
  for (const RowNote& note : *notes) {
    FuzzCheck(!note.rows.empty() && note.rows.size() <= RowNotes::kMaxRanges, "their ranges are bounded");
  }
  PeerHeader noted;
  WireRowNotes wire;
  wire.Put(*notes, &noted);
  const auto same = RowNotesOf(noted);
  FuzzCheck(same.ok() && same->size() == notes->size(), "row notes are read as they were written");
  for (size_t i = 0; i < notes->size(); ++i) FuzzCheck((*same)[i].rows == (*notes)[i].rows, "and so are their rows");
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
