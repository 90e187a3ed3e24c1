#include "base/fallback_notes.h"

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace portico {

void FallbackNotes::Add(absl::string_view target, absl::string_view kind) {
  AddReceived(absl::StrCat(target, "=", kind));
}

void FallbackNotes::AddReceived(absl::string_view note) {
  const auto allowed = [](char c) { return c > ' ' && c <= '~' && c != ','; };
  if (note.empty() || note.size() > kMaxLength || !absl::c_all_of(note, allowed)) return;
  MutexLock lock(&mutex_);
  if (notes_.size() >= kMaxNotes || absl::c_linear_search(notes_, note)) return;
  notes_.emplace_back(note);
  any_.store(true, std::memory_order_release);
}

std::vector<std::string> FallbackNotes::Notes() const {
  if (empty()) return {};
  MutexLock lock(&mutex_);
  return notes_;
}

std::string FallbackNotes::Joined() const { return absl::StrJoin(Notes(), ", "); }

}  // namespace portico
