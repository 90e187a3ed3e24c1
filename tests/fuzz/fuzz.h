#pragma once

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace portico {

/// Ends the fuzzer: a property does not hold for this input.
[[noreturn]] inline void FuzzFailed(absl::string_view what) {
  std::fprintf(stderr, "property does not hold: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

inline void FuzzCheck(bool holds, absl::string_view what) {
  if (!holds) FuzzFailed(what);
}

inline void FuzzCheckOk(const absl::Status& status, absl::string_view what) {
  if (!status.ok()) FuzzFailed(absl::StrCat(what, ": ", status.ToString()));
}

/// A received message in memory of exactly its size, so that AddressSanitizer sees each read beyond it.
class FuzzOrigin final : public TensorOrigin {
 public:
  explicit FuzzOrigin(absl::string_view bytes) : TensorOrigin(bytes.size()), data_(new char[bytes.size()]) {
    if (!bytes.empty()) std::memcpy(data_.get(), bytes.data(), bytes.size());
    bytes_ = {data_.get(), bytes.size()};
  }
  absl::string_view bytes() const { return bytes_; }

 private:
  std::unique_ptr<char[]> data_;
  absl::string_view bytes_;
};

/// Reads the first byte of `input` and removes it; 0 at the end.
inline uint8_t TakeByte(absl::string_view* input) {
  if (input->empty()) return 0;
  const auto byte = static_cast<uint8_t>(input->front());
  input->remove_prefix(1);
  return byte;
}

inline bool SameTensor(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() && a.bytes() == b.bytes();
}

/// A file that holds what the current input says, and that goes with the process however it ends; readers get its path.
class FuzzFile {
 public:
  explicit FuzzFile(const char* name) : path_(absl::StrCat("/proc/self/fd/", memfd_create(name, MFD_CLOEXEC))) {}
  const std::string& path() const { return path_; }
  void Write(absl::string_view content) const {
    std::FILE* file = std::fopen(path_.c_str(), "wb");
    FuzzCheck(file != nullptr, "the file opens");
    FuzzCheck(std::fwrite(content.data(), 1, content.size(), file) == content.size(), "the file is written");
    std::fclose(file);
  }

 private:
  const std::string path_;
};

}  // namespace portico
