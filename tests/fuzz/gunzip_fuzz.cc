#include "node/frontend/gunzip.h"

#include <zlib.h>

#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

constexpr uint64_t kMaxBytes = 1 << 16;

std::string Gzip(absl::string_view text) {
  z_stream stream{};
  FuzzCheck(deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib begins");
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  FuzzCheck(deflate(&stream, Z_FINISH) == Z_STREAM_END, "zlib packs");
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

void FuzzOne(absl::string_view input) {
  const FuzzOrigin exact(input);
  const auto text = Gunzip(exact.bytes(), kMaxBytes);
  if (text.ok()) FuzzCheck(text->size() <= kMaxBytes, "what is unpacked is bounded");
  // The input itself, packed and unpacked, is the same.
  const std::string packed = Gzip(input);
  const auto again = Gunzip(packed, kMaxBytes);
  FuzzCheck(again.ok() == (input.size() <= kMaxBytes), "the limit alone decides");
  if (again.ok()) FuzzCheck(*again == input, "the text is the same");
  if (packed.size() > 1) {
    FuzzCheck(!Gunzip(absl::string_view(packed).substr(0, packed.size() - 1), kMaxBytes).ok(), "cut short is refused");
  }
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
