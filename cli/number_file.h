#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/dtype.h"
#include "base/tensor.h"

namespace portico {

/// Numbers of a file, read piece by piece: files larger than memory. For one thread.
class NumberFile {
 public:
  /// What numpy.save() writes. INVALID_ARGUMENT also where the file is not as long as it says.
  static absl::StatusOr<NumberFile> OpenNpy(const std::string& path);
  /// Nothing but numbers of `dtype`, little-endian; `columns` to a row (0: no rows, one dimension).
  static absl::StatusOr<NumberFile> OpenRaw(const std::string& path, DType dtype, uint64_t columns);

  /// Goes on with that value. FAILED_PRECONDITION where there are not as many.
  absl::Status Seek(uint64_t value);

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }

  /// The next values. REQUIRES: as many are left. INVALID_ARGUMENT for types that are no float16, float32 or float64.
  absl::Status ReadFloats(absl::Span<float> out);
  /// The same for int64, int32, uint32 and uint64 (whose bits are taken as they are).
  absl::Status ReadIds(absl::Span<int64_t> out);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  NumberFile(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  absl::Status ReadBytes(uint64_t count);

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  DType dtype_ = DType::kInvalid;
  Shape shape_;
  /// Where the first value is.
  uint64_t begin_ = 0;
  std::string bytes_;
};

}  // namespace portico
